"""How far a clip is overdriven."""

import numpy as np

from matchka.vectors import FloatArray


def kurtosis(samples: FloatArray) -> float:
    """Fourth central moment of the samples over their squared variance: 1 of a square wave, 1.5 of a sine, 3 of noise.

    Speech has 5 to 40; cutting off its loud parts lowers it. Unlike a share of samples at full scale it stays as it is
    where a clip is resampled or made louder or quieter behind the cut.

    Args:
        samples: float32, (samples,), not all the same.

    >>> kurtosis(np.float32([0.5, -0.5, 0.5, -0.5]))
    1.0
    """
    powers = np.square(samples - samples.mean(dtype=np.float64), dtype=np.float64)
    return float(np.mean(np.square(powers)) / np.mean(powers) ** 2)
