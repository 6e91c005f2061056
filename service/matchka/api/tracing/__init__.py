"""Each request's ids, and its trace."""
