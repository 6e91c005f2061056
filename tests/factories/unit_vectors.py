"""Random vectors of unit length."""

import numpy as np


def unit_vectors(count: int, seed: int = 0, *, dim: int) -> np.ndarray:
    """float32, (count, dim)."""
    rows = np.random.default_rng(seed).normal(size=(count, dim))
    return (rows / np.sqrt(np.sum(rows**2, axis=1))[:, None]).astype(np.float32)
