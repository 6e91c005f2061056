"""What a dim costs: bytes of a template in a gallery, and the time of a search."""

import time
from statistics import median
from typing import Final

import numpy as np

BYTES_OF_COMPONENT: Final = 4  # float32, as galleries in memory hold references
ROWS: Final = 100_000
TRIES: Final = 9
SEED: Final = 1


def bytes_of_template(dim: int) -> int:
    """Bytes of the components of one reference at a dim."""
    return BYTES_OF_COMPONENT * dim


def search_ms(dim: int) -> float:
    """Milliseconds of one search of ROWS references on this machine: every similarity, and the largest."""
    rng = np.random.default_rng(SEED)
    rows = rng.standard_normal((ROWS, dim), dtype=np.float32)
    probe = rng.standard_normal(dim, dtype=np.float32)
    took = []
    for _ in range(TRIES):
        began = time.perf_counter()
        np.argmax(rows @ probe)
        took.append(time.perf_counter() - began)
    return 1000 * median(took)
