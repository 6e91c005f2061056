"""The response curve of an equalizer, out of its settings: analogue prototypes of its filters, inside a graph."""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from matchka_train.strict_model import StrictModel

GRID_POINTS: Final = 64
GRID_HZ: Final = (20.0, 20000.0)  # what people hear
DECIBELS: Final = 10.0  # of the decimal logarithm of a squared magnitude


class Band(StrictModel):
    """One filter of an equalizer. Each part is the name of the field that sets it, or a number where it is fixed.

    Attributes:
        kind: of filter.
        gain: in dB.
        frequency: in Hz: the centre of a peak, the middle of a shelf's slope.
        q: width of a peak, or steepness of a shelf.
    """

    kind: Literal["low_shelf", "peak", "high_shelf"]
    gain: str
    frequency: str | float
    q: str | float = Field(default=0.71)


class ResponseCurve(nn.Module):
    """Settings -> gain in dB at GRID_POINTS frequencies, even in their logarithm over GRID_HZ.

    Digital filters warp near half the sample rate and lose their precision in float32 at low frequencies; the analogue
    filters that they are made from do neither.

    Args:
        bands: the filters.
        names: of the columns.

    Source: R. Bristow-Johnson, Cookbook formulae for audio equalizer biquad filter coefficients (the prototypes H(s)).
    """

    grid: Tensor
    is_low: Tensor
    is_high: Tensor

    def __init__(self, bands: Sequence[Band], names: Sequence[str]) -> None:
        super().__init__()
        self.register_buffer("grid", torch.tensor(np.geomspace(*GRID_HZ, GRID_POINTS), dtype=torch.float32))
        for kind in ("low", "high"):
            chosen = torch.tensor([band.kind == f"{kind}_shelf" for band in bands])
            self.register_buffer(f"is_{kind}", chosen[:, None])
        self.gain = _Parts([band.gain for band in bands], names)
        self.frequency = _Parts([band.frequency for band in bands], names)
        self.q = _Parts([band.q for band in bands], names)

    def forward(self, values: Tensor) -> Tensor:
        """Float32, (n, fields), in the fields' units -> dB, (n, GRID_POINTS)."""
        # (n, bands, 1): the square root of the amplitude, and the widths
        root, q = 10.0 ** (self.gain(values)[:, :, None] / 40.0), self.q(values)[:, :, None]
        at = self.grid / self.frequency(values)[:, :, None]
        square = at * at
        slope = root * square / (q * q)
        rising = ((root - square) ** 2 + slope) / ((1.0 - root * square) ** 2 + slope)
        peak = ((1.0 - square) ** 2 + square * (root / q) ** 2) / ((1.0 - square) ** 2 + square / (root * q) ** 2)
        shelf = torch.where(self.is_low, rising, 1.0 / rising) * root * root
        squared = torch.where(self.is_low | self.is_high, shelf, peak)
        return DECIBELS * torch.log10(squared).sum(dim=1)


def level_removed(curves: Tensor) -> Tensor:
    """Curves less their mean over the grid: louder alone is no other sound."""
    return curves - curves.mean(dim=-1, keepdim=True)


class _Parts(nn.Module):
    """One part of every band: taken from a column, or fixed."""

    columns: Tensor
    fixed: Tensor
    is_fixed: Tensor

    def __init__(self, parts: Sequence[str | float], names: Sequence[str]) -> None:
        super().__init__()
        given = [isinstance(part, str) for part in parts]
        columns = [list(names).index(part) if isinstance(part, str) else 0 for part in parts]
        fixed = [1.0 if isinstance(part, str) else part for part in parts]
        self.register_buffer("columns", torch.tensor(columns))
        self.register_buffer("fixed", torch.tensor(fixed, dtype=torch.float32))
        self.register_buffer("is_fixed", ~torch.tensor(given))

    def forward(self, values: Tensor) -> Tensor:
        return torch.where(self.is_fixed, self.fixed, values[:, self.columns])
