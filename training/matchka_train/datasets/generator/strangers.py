"""Signals of no known modulation: OFDM, chirps, bursts and plain noise."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from matchka_train.datasets.generator.modulations import Envelope, Linear, Modulation, square
from matchka_train.datasets.generator.pulses import Times

CARRIERS: Final = 64
SMALLEST_POWER: Final = 1e-12
PREFIX: Final = 16  # samples of each OFDM symbol that repeat its end


@dataclass(frozen=True)
class Ofdm:
    """Carriers of QPSK side by side, between a quarter and three quarters of the band."""

    def envelope(self, times: Times, _samples_per_symbol: float, _shape: float, rng: np.random.Generator) -> Envelope:
        """See Modulation; the receiver's clock is taken for the transmitter's."""
        rows, length = times.shape
        symbols = length // (CARRIERS + PREFIX) + 2
        points = square(2)[rng.integers(4, size=(rows, symbols, CARRIERS))]
        used = rng.uniform(0.25, 0.75, (rows, 1, 1)) * CARRIERS / 2
        carrier = np.abs(np.fft.fftfreq(CARRIERS, 1 / CARRIERS))
        sent = np.fft.ifft(np.where((carrier > 0) & (carrier <= used), points, 0), axis=2)
        whole = np.concatenate([sent[:, :, -PREFIX:], sent], axis=2).reshape(rows, -1)
        starts = rng.integers(CARRIERS + PREFIX, size=(rows, 1))
        return _unit(np.take_along_axis(whole, starts + np.arange(length), axis=1).astype(np.complex64))


@dataclass(frozen=True)
class Chirp:
    """Sweeps of 32 to 512 samples over a quarter to four fifths of the band, up or down."""

    def envelope(self, times: Times, _samples_per_symbol: float, _shape: float, rng: np.random.Generator) -> Envelope:
        """See Modulation."""
        rows = len(times)
        period, width = 2 ** rng.uniform(5, 9, (rows, 1)), rng.uniform(0.25, 0.8, (rows, 1))
        direction = rng.choice([-1.0, 1.0], (rows, 1))
        within = np.mod(times / period + rng.random((rows, 1)), 1)
        frequency = direction * width * (within - 0.5)
        sent: Envelope = np.exp(2j * np.pi * np.cumsum(frequency, axis=1)).astype(np.complex64)
        return sent


@dataclass(frozen=True)
class Burst:
    """QPSK of 4 samples a symbol that is sent for 16 to 48 samples and silent for as long or twice as long."""

    def envelope(self, times: Times, _samples_per_symbol: float, _shape: float, rng: np.random.Generator) -> Envelope:
        """See Modulation."""
        rows = len(times)
        on = rng.uniform(16, 48, (rows, 1))
        period = on * rng.uniform(2, 3, (rows, 1))
        sent = np.mod(times + rng.random((rows, 1)) * period, period) < on
        return _unit(Linear(square(2)).envelope(times, 4, 0.5, rng) * sent)


@dataclass(frozen=True)
class Noise:
    """White noise: what is received where nobody sends."""

    def envelope(self, times: Times, _samples_per_symbol: float, _shape: float, rng: np.random.Generator) -> Envelope:
        """See Modulation."""
        parts = rng.standard_normal((2, *times.shape), np.float32)
        sent: Envelope = ((parts[0] + 1j * parts[1]) / np.sqrt(2)).astype(np.complex64)
        return sent


def _unit(envelope: Envelope) -> Envelope:
    power = np.mean(np.abs(envelope) ** 2, axis=1, keepdims=True)
    scaled: Envelope = (envelope / np.sqrt(np.maximum(power, SMALLEST_POWER))).astype(np.complex64)
    return scaled


STRANGERS: Final[dict[str, Modulation]] = {"OFDM": Ofdm(), "chirp": Chirp(), "burst": Burst(), "noise": Noise()}
