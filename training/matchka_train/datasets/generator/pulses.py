"""Pulses by lookup: sums of symbols times a pulse, at any moments."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import special

SPAN: Final = 5  # symbols on either side; what a root raised cosine of roll-off 0.2 has beyond is below -40 dB
STEPS: Final = 128  # of the tables, a symbol: timing is known to 1/128 symbol, 1/12 sample of the slowest waveform
OFFSETS: Final = np.arange(-SPAN, SPAN + 1)

Symbols = npt.NDArray[Any]
Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PulseTable:
    """A pulse sampled at each step of a symbol. Attributes: values: float32, (STEPS, 2 SPAN + 1), step by symbol."""

    values: npt.NDArray[np.float32]

    def sum_at(self, symbols: Symbols, times: Times) -> Symbols:
        """The sum over k of symbols[k] times the pulse at (times - k), over the symbols within SPAN.

        Args:
            symbols: (n, k), one for each moment SPAN to k - SPAN - 1 and SPAN more on either side.
            times: (n, length), in symbols, within SPAN and k - SPAN - 1.

        Returns: (n, length), of the symbols' type.
        """
        nearest = np.floor(times).astype(np.int64)
        pulses = self.values[((times - nearest) * STEPS).astype(np.int64)]
        near = np.take_along_axis(
            np.lib.stride_tricks.sliding_window_view(symbols, len(OFFSETS), axis=1),
            (nearest - SPAN)[:, :, None],
            axis=1,
        )
        total: Symbols = np.einsum("nlt,nlt->nl", near, pulses)
        return total


def symbols_needed(length: int, samples_per_symbol: float) -> int:
    """How many symbols a stretch of so many samples can touch, with those that reach into it.

    >>> symbols_needed(128, 8)
    29
    """
    return int(np.ceil(length / samples_per_symbol)) + 2 * SPAN + 3


@cache
def root_raised_cosine(roll_off: float) -> PulseTable:
    """The pulse of unit energy a symbol. Source: Proakis, Digital Communications, section 9.2."""
    time = _table_times()
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.pi * time * (1 - (4 * roll_off * time) ** 2)
        values = (
            np.sin(np.pi * time * (1 - roll_off)) + 4 * roll_off * time * np.cos(np.pi * time * (1 + roll_off))
        ) / below
    at_zero = 1 + roll_off * (4 / np.pi - 1)
    inner, outer = (1 + 2 / np.pi) * np.sin(np.pi / 4 / roll_off), (1 - 2 / np.pi) * np.cos(np.pi / 4 / roll_off)
    values = np.where(np.abs(time) < 1e-9, at_zero, values)
    values = np.where(np.abs(np.abs(4 * roll_off * time) - 1) < 1e-9, roll_off / np.sqrt(2) * (inner + outer), values)
    return PulseTable(values.astype(np.float32))


@cache
def gaussian_phase(bandwidth_time: float | None) -> PulseTable:
    """How much of a symbol's phase has passed, less a step at its start: a rectangle of one symbol through a Gaussian.

    Args: bandwidth_time: of the Gaussian's 3 dB bandwidth and a symbol; None is the rectangle alone.
    """
    time = _table_times() + 0.5  # a symbol lasts from -1/2 to 1/2 around its moment, here from 0 to 1
    if bandwidth_time is None:
        passed = np.clip(time, 0, 1)
    else:
        sigma = np.sqrt(np.log(2)) / (2 * np.pi * bandwidth_time)
        passed = _integral_of_edge(time / sigma) * sigma - _integral_of_edge((time - 1) / sigma) * sigma
    step = (time >= 0.5).astype(np.float64)  # the symbols up to and including the nearest before are summed whole
    return PulseTable((passed - step).astype(np.float32))


def _integral_of_edge(x: Times) -> Times:
    """The integral of the normal distribution function up to x."""
    edge: Times = x * special.ndtr(x) + np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
    return edge


def _table_times() -> Times:
    """From each symbol within SPAN to each step behind the nearest: (STEPS, 2 SPAN + 1), in symbols."""
    times: Times = (np.arange(STEPS) + 0.5)[:, None] / STEPS - OFFSETS
    return times
