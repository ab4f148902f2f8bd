"""The two stages of LAMeTA end to end: joins intents, E-LAMs, distillation and composition for the command line and
the experiments. Everything it calls can be used alone."""
