"""What the service must compute with the bundles of these tests, recomputed slowly."""

import numpy as np

from tests.factories.bundles import CONTEXT, HOP, LEVEL_DBFS
from tests.factories.graphs import FULL_DIM, WINDOW, projection


def embedding_of(samples: np.ndarray, seed: int = 7) -> np.ndarray:
    """What the service must compute, in float64 and with loops: level, windows, graph, mean; unit length."""
    bands, mix, bias = (weights.astype(np.float64) for weights in projection(seed))
    clip = samples.astype(np.float64)
    rms = np.sqrt(np.sum(clip * clip) / clip.size)
    clip = clip * max(1.0, 10 ** (LEVEL_DBFS / 20) / rms)
    outputs = []
    start = -CONTEXT
    while True:
        window = np.array([clip[i] if 0 <= i < clip.size else 0.0 for i in range(start, start + WINDOW)])
        outputs.append(np.abs(window @ bands) @ mix + bias)
        if start + WINDOW - CONTEXT >= clip.size:
            break
        start += HOP
    mean = np.sum(outputs, axis=0) / len(outputs)
    return mean / np.sqrt(np.sum(mean * mean))


def cosine(a: np.ndarray, b: np.ndarray, dim: int = FULL_DIM) -> float:
    """The cosine of two prefixes, in float64."""
    a, b = np.asarray(a[:dim], np.float64), np.asarray(b[:dim], np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))
