"""Hostile input: what is sent (generators/), what is documented for it (documented.py), and the run that compares."""
