"""Search over the store's references."""
