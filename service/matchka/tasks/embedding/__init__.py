"""Embeddings: enrol, verify, identify, and the galleries that follow the store."""
