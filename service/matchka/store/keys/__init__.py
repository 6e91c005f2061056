"""API keys: what they may do, what is kept of them, and their changes."""
