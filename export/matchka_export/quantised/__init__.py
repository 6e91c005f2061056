"""Graphs in 8-bit arithmetic beside a bundle's own: written, measured and judged."""
