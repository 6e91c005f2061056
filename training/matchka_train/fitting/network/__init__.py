"""Training of a network that is frozen afterwards: made windows in, a file of weights out."""
