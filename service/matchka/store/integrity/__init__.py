"""Whether the store holds what was written."""
