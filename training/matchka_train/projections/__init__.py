"""Projections: what is trained between the frozen embedding and the embedding that is served; one family per file."""
