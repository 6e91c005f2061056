"""Clients that cost little: a caller that asks one thing after the other, and loads of many requests made before."""
