"""Sounds added at a signal-to-noise ratio, and rooms that a clip passes."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve

from matchka.vectors import FloatArray

SMALLEST_POWER: Final = 1e-12


def add_at_snr(samples: FloatArray, noise: npt.NDArray[np.floating[Any]], snr_db: float) -> FloatArray:
    """Add noise at a signal-to-noise ratio over the whole clip.

    Args:
        samples: float32, (samples,).
        noise: of the same length, at any level but silence.
        snr_db: ratio of the mean powers in dB.

    Returns: float32, (samples,).
    """
    power = max(mean_power(samples), SMALLEST_POWER)
    gain = np.sqrt(power * 10.0 ** (-snr_db / 10.0) / max(mean_power(noise), SMALLEST_POWER))
    noisy: FloatArray = (samples + noise * gain).astype(np.float32)
    return noisy


def pass_room(samples: FloatArray, response: FloatArray) -> FloatArray:
    """Convolve a clip with a room's impulse response; nothing comes later than it was, and the level stays.

    The direct path is the response's largest magnitude. What it delays is cut off in front, what rings on behind.

    Args:
        samples: float32, (samples,).
        response: float32, (any length,), at the clip's rate, not silent.

    Returns: float32, (samples,), of the clip's mean power.
    """
    direct = int(np.argmax(np.abs(response)))
    wet = fftconvolve(samples.astype(np.float64), response.astype(np.float64))[direct : direct + samples.size]
    gain = np.sqrt(mean_power(samples) / max(mean_power(wet), SMALLEST_POWER))
    levelled: FloatArray = (wet * gain).astype(np.float32)
    return levelled


def sum_at_one_level(recordings: Sequence[FloatArray]) -> FloatArray:
    """Recordings of one length on top of one another, each of mean power 1; none silent."""
    total: FloatArray = sum(recording / np.sqrt(max(mean_power(recording), SMALLEST_POWER)) for recording in recordings)
    return total


def mean_power(samples: npt.NDArray[np.floating[Any]]) -> float:
    """The mean of the squares."""
    return float(np.mean(samples.astype(np.float64) ** 2))
