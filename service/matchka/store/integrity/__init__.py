"""Integrity: digests of stored embeddings, and the check of a whole database."""
