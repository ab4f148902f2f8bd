"""How small language models learn to read intents (IoKD): losses on log-probabilities and the trainer."""
