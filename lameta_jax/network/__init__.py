"""What the world is: agents, links, and the quality of the chains they form (LAMeTA Sec. III)."""
