"""`matchka demo`: real people over HTTP, and what happened."""
