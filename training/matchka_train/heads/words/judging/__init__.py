"""Judges a model of settings on contributors that it does not know."""
