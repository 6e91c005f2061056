"""Encryption of templates under a key per subject, and the store of those keys."""
