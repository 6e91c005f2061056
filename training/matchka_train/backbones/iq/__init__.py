"""A network for radio recordings, trained here on made signals, and frozen behind its file."""
