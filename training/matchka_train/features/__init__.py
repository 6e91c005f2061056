"""Frozen features: extraction and their cache."""
