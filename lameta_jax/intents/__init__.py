"""What people ask: the corpus of prompts and the way from a prompt to a preference vector."""
