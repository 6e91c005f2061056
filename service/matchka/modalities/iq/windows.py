"""Samples -> the windows that a graph takes, each of unit mean power."""

import numpy as np
import numpy.typing as npt

from matchka.vectors import FloatArray


def windows_of(
    samples: npt.NDArray[np.complex64], window_samples: int, hop_samples: int, max_windows: int
) -> FloatArray:
    """Cut a recording into windows and scale each to unit mean power.

    Samples behind the last whole window are left out, as are windows of zeros: they have no power to scale. Where more
    than `max_windows` remain, as many are taken, spread evenly over the recording.

    Args:
        samples: complex64, (n,), finite; n >= window_samples.
        window_samples: of one window.
        hop_samples: distance between the starts of two windows.
        max_windows: most windows.

    Returns: float32, (windows, 2, window_samples), I and then Q; none where all samples are zero.
    """
    starts = np.arange(0, samples.size - window_samples + 1, hop_samples)
    heard = np.concatenate([[0], np.cumsum(samples != 0)])  # samples that are not zero, up to each place
    starts = starts[heard[starts + window_samples] > heard[starts]]
    if starts.size > max_windows:
        starts = starts[np.arange(max_windows) * starts.size // max_windows]
    return unit_power(samples[starts[:, None] + np.arange(window_samples)])


def unit_power(windows: npt.NDArray[np.complex64]) -> FloatArray:
    """Scale each window to a mean of |x|^2 of 1.

    Args: windows: complex64, (windows, window_samples), finite, none all zero.

    Returns: float32, (windows, 2, window_samples), I and then Q.

    >>> unit_power(np.array([[6 + 8j, 0, 0, 0]], np.complex64))[0, :, 0]
    array([1.2, 1.6], dtype=float32)
    """
    parts = np.stack([windows.real, windows.imag], axis=1).astype(np.float64)
    peaks = np.abs(parts).max(axis=(1, 2), keepdims=True)  # first, so that no square is too small or too large
    parts /= peaks
    power = np.square(parts).sum(axis=1, keepdims=True).mean(axis=2, keepdims=True)
    scaled: FloatArray = (parts / np.sqrt(power)).astype(np.float32)
    return scaled
