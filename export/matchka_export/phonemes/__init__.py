"""Phoneme heads: from a fitted head to the bundle that says whether a clip holds a text."""
