"""The change feed: what has changed since a state of the store, for the followers of its galleries."""
