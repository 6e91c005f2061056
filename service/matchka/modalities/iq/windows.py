"""Samples -> the windows that a graph takes, each of unit mean power."""

from typing import Final

import numpy as np
import numpy.typing as npt

from matchka.vectors import FloatArray

LEAST_CHANGE: Final = 2.0**-23  # of the peak: a step of 24 bits, the finest samples that are read


def windows_of(
    samples: npt.NDArray[np.complex64], window_samples: int, hop_samples: int, max_windows: int
) -> FloatArray:
    """Cut a recording into windows and scale each to unit mean power.

    Samples behind the last whole window are left out, as are windows in which no two neighbouring samples differ by
    more than LEAST_CHANGE of the recording's peak: zeros, the constant of a muted receiver, what a filter leaves behind
    a signal. Scaled to unit power, they would count as much as the signal. Where more than `max_windows` remain, as
    many are taken, spread evenly over the recording.

    Args:
        samples: complex64, (n,), finite; n >= window_samples.
        window_samples: of one window.
        hop_samples: distance between the starts of two windows.
        max_windows: most windows.

    Returns: float32, (windows, 2, window_samples), I and then Q; none where the recording is one constant.
    """
    starts = np.arange(0, samples.size - window_samples + 1, hop_samples)
    changes = _changes(samples)
    starts = starts[changes[starts + window_samples - 1] > changes[starts]]
    if starts.size > max_windows:
        starts = starts[np.arange(max_windows) * starts.size // max_windows]
    return unit_power(samples[starts[:, None] + np.arange(window_samples)])


def _changes(samples: npt.NDArray[np.complex64]) -> npt.NDArray[np.int32]:
    """How many samples, up to each, differ from the one before: int32, (n,)."""
    parts = samples.view(np.float32)
    peak = max(float(parts.max()), -float(parts.min()))
    found = np.zeros(samples.size, np.int32)
    np.cumsum(np.abs(np.diff(samples)) > LEAST_CHANGE * peak, dtype=np.int32, out=found[1:])
    return found


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
