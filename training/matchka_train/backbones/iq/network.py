"""A CLDNN for windows of IQ samples: convolutions, LSTM, dense; modulation by the noise, and a second, denoised path.

Sources: Sainath et al. 2015, Convolutional, Long Short-Term Memory, Fully Connected Deep Neural Networks; West and
O'Shea 2017, arXiv:1703.09197; Perez et al. 2018, FiLM, arXiv:1709.07871.
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from matchka_train.backbones.iq.config import WINDOW_SAMPLES, NetworkConfig
from matchka_train.backbones.iq.spectra import SPECTRAL_FEATURES, Spectra

SNR_SCALE_DB: Final = 10.0  # the head predicts tens of decibels, so that its weights are of the size of the others'
DENOISER_CHANNELS: Final = 24
CUMULANTS: Final = 6
TINY: Final = 1e-6  # roots have no slope at 0


class Predictions(NamedTuple):
    """What a network says of n windows.

    Attributes:
        features: (n, features), before they are scaled to unit length.
        logits: (n, classes).
        snr_db: (n, 1).
        noise_fraction: (n, 1), the noise's share of the power, in (0, 1).
        pooled: (n, pooled_width), what features are made of.
        denoised: (n, 2, samples), in the unit of the input; None where there is no denoiser.
    """

    features: Tensor
    logits: Tensor
    snr_db: Tensor
    noise_fraction: Tensor
    pooled: Tensor
    denoised: Tensor | None


class Film(nn.Module):
    """Scales and shifts each channel by what is known of the noise: x * (1 + scale) + shift."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = nn.Linear(16, 2 * channels)
        nn.init.zeros_(last.weight)  # it starts as no change at all
        nn.init.zeros_(last.bias)
        self.predict = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), last)

    def forward(self, x: Tensor, noise_fraction: Tensor) -> Tensor:
        """(n, channels, time) and (n, 1) -> (n, channels, time)."""
        scale, shift = self.predict(noise_fraction)[:, :, None].chunk(2, dim=1)
        modulated: Tensor = x * (1 + scale) + shift
        return modulated


class Denoiser(nn.Module):
    """Predicts the signal without noise, in the unit of the received one."""

    def __init__(self) -> None:
        super().__init__()
        width = DENOISER_CHANNELS
        self.layers = nn.Sequential(  # at half the rate: what is sent fills less than that
            nn.Conv1d(2, width, 8, stride=2, padding=3),
            nn.ReLU(),
            nn.Conv1d(width, width, 7, padding=3),
            nn.ReLU(),
            nn.Conv1d(width, width, 7, padding=3),
            nn.ReLU(),
            nn.ConvTranspose1d(width, 2, 8, stride=2, padding=3),
        )

    def forward(self, rows: Tensor) -> Tensor:
        """(n, 2, samples) -> (n, 2, samples)."""
        denoised: Tensor = self.layers(rows)
        return denoised


class _Path(nn.Sequential):
    """Convolutions that shorten time fourfold: (n, 2, samples) -> (n, channels, samples / 4)."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv1d(2, channels, 7, padding=3, bias=False),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            nn.Conv1d(channels, channels, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            nn.Conv1d(channels, channels, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
        )


class RadioNetwork(nn.Module):
    """Windows of unit power -> features, classes, SNR.

    Args:
        config: its parts.
        classes: how many modulations it tells apart.
    """

    def __init__(self, config: NetworkConfig, classes: int) -> None:
        super().__init__()
        channels, recurrent = config.channels, config.recurrent
        self.denoiser = Denoiser() if config.denoiser else None
        self.received = _Path(channels)
        self.second = _Path(channels // 2) if config.denoiser else None
        width = channels + (channels // 2 if config.denoiser else 0)
        self.spectra = Spectra(config.spectra, WINDOW_SAMPLES) if config.spectra else None
        spectral = SPECTRAL_FEATURES if config.spectra else 0
        self.noise = nn.Sequential(nn.Linear(2 * channels + spectral, 32), nn.ReLU(), nn.Linear(32, 2))
        self.film = Film(width) if config.film else None
        self.recurrent = nn.LSTM(width, recurrent, batch_first=True, bidirectional=True)
        self.pooled_width = 2 * width + 4 * recurrent + spectral + (CUMULANTS if config.expert else 0)
        self.expert = config.expert
        self.dense = nn.Sequential(nn.Linear(self.pooled_width, config.features), nn.BatchNorm1d(config.features))
        self.classes = nn.Linear(config.features, classes)

    def forward(self, rows: Tensor) -> Predictions:
        """Look at windows: float32, (n, 2, samples), each of unit mean power."""
        x = self.received(rows)
        spectral = [] if self.spectra is None else [self.spectra(rows)]
        snr, noise_fraction = self.noise(torch.cat([_mean_and_deviation(x), *spectral], dim=1)).chunk(2, dim=1)
        noise_fraction = torch.sigmoid(noise_fraction)
        denoised = None
        if self.denoiser is not None and self.second is not None:
            denoised = self.denoiser(rows)
            x = torch.cat([x, self.second(denoised)], dim=1)
        if self.film is not None:
            x = self.film(x, noise_fraction)
        over_time, _ = self.recurrent(x.transpose(1, 2))
        parts = [_mean_and_deviation(x), *spectral, _mean_and_deviation(over_time.transpose(1, 2))]
        if self.expert:
            parts.append(expert_features(rows))
        pooled = torch.cat(parts, dim=1)
        features = self.dense(pooled)
        logits = self.classes(torch.relu(features))
        return Predictions(features, logits, snr * SNR_SCALE_DB, noise_fraction, pooled, denoised)


def expert_features(rows: Tensor) -> Tensor:
    """Cumulants of a window, each to the power 2 / order: |C20|, |C40|, |C41|, C42, |C60|, C63.

    They are of the window as it is received; noise has none above the second order, and only makes them less certain.

    Args: rows: float32, (n, 2, samples), of unit mean power.

    Returns: float32, (n, CUMULANTS).

    Source: Swami and Sadler 2000, Hierarchical digital modulation classification using cumulants.
    """
    real, imaginary = rows[:, 0], rows[:, 1]
    power = real**2 + imaginary**2
    second = torch.stack([real**2 - imaginary**2, 2 * real * imaginary])  # the square; complex numbers are (2, ...)
    fourth = _product(second, second)
    m20, m40, m41 = second.mean(dim=2), fourth.mean(dim=2), (second * power).mean(dim=2)
    m42, m60, m63 = (power**2).mean(dim=1), _product(fourth, second).mean(dim=2), (power**3).mean(dim=1)
    m20_squared = _product(m20, m20)
    c20_power = (m20**2).sum(dim=0)
    c60 = m60 - 15 * _product(m20, m40) + 30 * _product(m20, m20_squared)
    c63 = m63 - 9 * m42 + 18 * c20_power + 12 - 6 * (m20 * m41).sum(dim=0)
    orders = (
        _length(m20),
        torch.sqrt(_length(m40 - 3 * m20_squared)),
        torch.sqrt(_length(m41 - 3 * m20)),
        _root(m42 - c20_power - 2, 2),
        _length(c60) ** (1 / 3),
        _root(c63, 3),
    )
    return torch.stack(orders, dim=1)


def _product(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack([a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]])


def _length(a: Tensor) -> Tensor:
    return torch.sqrt((a**2).sum(dim=0) + TINY)


def _root(x: Tensor, order: int) -> Tensor:
    """With the sign of x."""
    return torch.sign(x) * (torch.abs(x) + TINY) ** (1 / order)


def _mean_and_deviation(x: Tensor) -> Tensor:
    """(n, channels, time) -> (n, 2 channels)."""
    mean = x.mean(dim=2)
    variance = ((x - mean[:, :, None]) ** 2).mean(dim=2)
    return torch.cat([mean, torch.sqrt(variance + 1e-5)], dim=1)
