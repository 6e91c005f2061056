"""Small samples: whether an enhancer helps, by size, and the operating points of each size."""
