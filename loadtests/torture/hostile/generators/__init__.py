"""Endless, seeded sequences of hostile requests; each begins with one of every shape it knows."""
