"""Speech: whether a clip says a text, how well, and which phones it says."""
