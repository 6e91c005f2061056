"""Attacks on what is enrolled: each is tried against a served process with keys and a vault, and counted."""
