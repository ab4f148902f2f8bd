"""How agents adapt: MAN, meta-learned initialisations that agents fine-tune to their environment."""
