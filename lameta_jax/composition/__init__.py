"""How a chain is composed: symbiotic reinforcement learning of LAMeTA Sec. V, its baselines, its evaluation."""
