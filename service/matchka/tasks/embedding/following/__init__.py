"""Following the store: its changes -> galleries."""
