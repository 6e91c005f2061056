"""Spectra of a window and of its powers: lines where symbols repeat, which no convolution of a few samples sees.

Squared, a signal of two phases has a line at twice its carrier, and one of four has it to the fourth power; the
magnitude of whatever is sent in symbols has one at their rate.

Source: Gardner 1987, Spectral correlation of modulated signals, part I, IEEE Transactions on Communications 35.
"""

from typing import Final

import torch
from torch import Tensor, nn

SPECTRAL_FEATURES: Final = 80
FILTER_SAMPLES: Final = 11
NARROWEST: Final = 0.4  # samples of deviation of the first filter's start; every further one is WIDER longer
WIDER: Final = 1.3


class Spectra(nn.Module):
    """(n, 2, samples) -> (n, SPECTRAL_FEATURES).

    Spectra are taken of the window, and of the square, the fourth power and the squared magnitude of what several
    learned low-pass filters leave of it; each is log(1 + power).

    Args:
        filters: how many.
        samples: of a window, even.
    """

    transform: Tensor

    def __init__(self, filters: int, samples: int) -> None:
        super().__init__()
        self.samples = samples
        self.filters = nn.Conv1d(1, filters, FILTER_SAMPLES, padding=FILTER_SAMPLES // 2, bias=False)
        with torch.no_grad():
            self.filters.weight.copy_(_gaussians(filters)[:, None])
        self.register_buffer("transform", _fourier(samples), persistent=False)
        inputs = samples + filters * (2 * samples + samples // 2)
        self.normalised = nn.BatchNorm1d(inputs)
        self.dense = nn.Sequential(nn.Linear(inputs, SPECTRAL_FEATURES), nn.BatchNorm1d(SPECTRAL_FEATURES), nn.ReLU())

    def forward(self, rows: Tensor) -> Tensor:
        """See the class."""
        features: Tensor = self.dense(self.normalised(self.spectra(rows)))
        return features

    def spectra(self, rows: Tensor) -> Tensor:
        """What the layers see: (n, inputs)."""
        real, imaginary = (self.filters(rows[:, part : part + 1]) for part in (0, 1))
        magnitude = real**2 + imaginary**2
        square = real**2 - imaginary**2, 2 * real * imaginary
        fourth = square[0] ** 2 - square[1] ** 2, 2 * square[0] * square[1]
        varying = magnitude - magnitude.mean(dim=2, keepdim=True)
        powers = (
            self._power(rows[:, 0], rows[:, 1]),
            self._power(*square),
            self._power(*fourth),
            self._power(varying, torch.zeros_like(varying))[..., 1 : self.samples // 2 + 1],  # the rest mirrors it
        )
        return torch.log1p(torch.cat([power.flatten(1) for power in powers], dim=1))

    def _power(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Of each frequency, the mean over all being the mean power: (..., samples)."""
        of_real, of_imaginary = (real @ self.transform).chunk(2, dim=-1), (imaginary @ self.transform).chunk(2, dim=-1)
        power: Tensor = (of_real[0] - of_imaginary[1]) ** 2 + (of_real[1] + of_imaginary[0]) ** 2
        return power


def _gaussians(count: int) -> Tensor:
    """Low-pass filters of unit energy to begin with: (count, FILTER_SAMPLES)."""
    time = torch.arange(FILTER_SAMPLES) - FILTER_SAMPLES // 2
    deviations = NARROWEST + WIDER * torch.arange(count)[:, None]
    pulses = torch.exp(-0.5 * (time / deviations) ** 2)
    unit: Tensor = pulses / pulses.norm(dim=1, keepdim=True)
    return unit


def _fourier(samples: int) -> Tensor:
    """The discrete transform as a matrix, cosines beside sines, of unit length: (samples, 2 samples).

    A product, because the exchange format's own transform is newer than many runtimes.
    """
    places = torch.arange(samples, dtype=torch.float64)
    angles = 2 * torch.pi * (places[:, None] * places % samples) / samples
    transform: Tensor = (torch.cat([angles.cos(), -angles.sin()], dim=1) / samples**0.5).float()
    return transform
