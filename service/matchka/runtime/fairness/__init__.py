"""Fairness between accounts: who may hold how much, and whose work comes next."""
