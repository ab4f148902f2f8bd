"""Intent-aware composition of agentic networks (LAMeTA) and meta-learned adaptation (MAN) in JAX."""

__version__ = "0.1.0"
