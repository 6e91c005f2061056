"""The level of a clip."""

import math
from typing import Final

import numpy as np

from matchka.vectors import FloatArray

RMS_BLOCK_SAMPLES: Final = 1024


def root_mean_square(samples: FloatArray) -> float:
    """Root mean square, 0 of nothing. float32 within a block and float64 beyond it: no copy, and exact to 3e-7."""
    whole = samples.size // RMS_BLOCK_SAMPLES * RMS_BLOCK_SAMPLES
    blocks, rest = samples[:whole].reshape(-1, RMS_BLOCK_SAMPLES), samples[whole:]
    energy = float(np.vecdot(blocks, blocks).sum(dtype=np.float64)) + float(np.vecdot(rest, rest))
    return math.sqrt(energy / max(1, samples.size))


def level_gain(samples: FloatArray, level_dbfs: float) -> np.float32:
    """What raises a clip to an RMS level: 1 for a louder clip and for a silent one.

    Args:
        samples: float32, (samples,), full scale 1.
        level_dbfs: RMS level in dB relative to full scale.

    >>> float(level_gain(np.full(4, 0.125, np.float32), 20.0 * np.log10(0.5)))
    4.0
    """
    rms = root_mean_square(samples)
    return np.float32(max(1.0, 10.0 ** (level_dbfs / 20.0) / rms)) if rms > 0.0 else np.float32(1.0)
