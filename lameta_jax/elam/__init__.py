"""The small language models (E-LAMs). They know text and answers, nothing about intents."""
