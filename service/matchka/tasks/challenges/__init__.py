"""Challenges: what a subject is asked to do, and whether it was done; a class for each kind of them."""
