"""Wire types: what the service answers."""
