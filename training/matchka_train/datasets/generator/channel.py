"""What happens between a transmitter and the samples: offsets, fading over several paths, and noise of a known SNR."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from matchka_train.datasets.generator.modulations import Envelope
from matchka_train.datasets.generator.pulses import Times

PATHS: Final = 3
LONGEST_DELAY: Final = 2.0  # samples
DELAY_SPREAD: Final = 0.5  # samples until a path has 1/e of the power
DIFFUSE_WAVES: Final = 6  # of each path; their sum is Gaussian enough, and each has its own Doppler shift
KNOT_SAMPLES: Final = 128  # gains are straight lines between; at most 1/20 cycle of Doppler passes
HISTORY: Final = 5  # samples before the first that the paths' filters reach: 2 of delay and 2 of interpolation
RICE_FACTORS: Final = (0.0, 4.0, 10.0)  # power of the direct wave to that of the diffuse ones; 0 is Rayleigh


@dataclass(frozen=True)
class ChannelRange:
    """How far channels vary.

    Attributes:
        carrier_offset: largest, in cycles a sample: 500 Hz at 200 kHz.
        clock_offset: largest relative difference of the two sample clocks.
        doppler: largest, in cycles a sample.
    """

    carrier_offset: float = 0.0025
    clock_offset: float = 5e-5
    doppler: float = 2e-4


def receiver_times(rows: int, length: int, limits: ChannelRange, rng: np.random.Generator) -> Times:
    """Moments of the samples by the transmitter's clock, HISTORY before the first included: (rows, length + HISTORY).

    Returns: float64, in samples, from 0 on.
    """
    offset = rng.uniform(-limits.clock_offset, limits.clock_offset, (rows, 1))
    times: Times = np.arange(length + HISTORY) * (1 + offset)
    return times


def through_channel(sent: Envelope, limits: ChannelRange, rng: np.random.Generator) -> Envelope:
    """Fade over several paths and turn by the carriers' difference; a channel of its own for each row.

    Args:
        sent: complex64, (n, length + HISTORY).
        limits: how far channels vary.
        rng: draws them.

    Returns: complex64, (n, length), of whatever power arrives.
    """
    rows, length = len(sent), sent.shape[1] - HISTORY
    delays = np.sort(rng.uniform(0, LONGEST_DELAY, (rows, PATHS)), axis=1)
    delays -= delays[:, :1]
    powers = np.exp(-delays / DELAY_SPREAD)
    rice = rng.choice(RICE_FACTORS, rows)
    received = np.zeros((rows, length), np.complex64)
    for path in range(PATHS):
        direct = rice if path == 0 else np.zeros(rows)  # only the first path has a line of sight
        gain = _gain(direct, powers[:, path], length, limits.doppler, rng)
        received += gain * _delayed(sent, delays[:, path])
    offset = rng.uniform(-limits.carrier_offset, limits.carrier_offset, (rows, 1))
    turn = 2 * np.pi * (rng.random((rows, 1)) + offset * np.arange(length))
    turned: Envelope = (received * np.exp(1j * turn.astype(np.float32))).astype(np.complex64)
    return turned


def with_noise(clean: Envelope, snr_db: npt.NDArray[Any], rng: np.random.Generator) -> Envelope:
    """Add white noise so that the power of each row is `snr_db` above it.

    Noise is of the expected power: that of one draw differs, as it does on the air.

    Args:
        clean: complex64, (n, length), not silent.
        snr_db: (n,), ten times the logarithm of the ratio of powers, over the whole row.
        rng: draws it.
    """
    power = np.mean(np.abs(clean) ** 2, axis=1)
    deviation = np.sqrt(power / 10 ** (np.asarray(snr_db) / 10) / 2).astype(np.float32)[:, None]
    parts = rng.standard_normal((2, *clean.shape), np.float32)
    noisy: Envelope = (clean + deviation * (parts[0] + 1j * parts[1])).astype(np.complex64)
    return noisy


def _gain(
    rice: npt.NDArray[Any], power: npt.NDArray[Any], length: int, doppler: float, rng: np.random.Generator
) -> npt.NDArray[np.complex64]:
    """A path's gain over time: (n, length)."""
    rows = len(power)
    knots = np.append(np.arange(0, length, KNOT_SAMPLES), length)
    angles, phases = rng.uniform(0, 2 * np.pi, (2, rows, DIFFUSE_WAVES + 1, 1))
    waves = np.exp(1j * (phases + 2 * np.pi * doppler * np.cos(angles) * knots))
    weights = np.sqrt(1 / (1 + rice) / DIFFUSE_WAVES)[:, None] * waves[:, 1:].sum(axis=1)
    weights = (weights + np.sqrt(rice / (1 + rice))[:, None] * waves[:, 0]) * np.sqrt(power)[:, None]
    moment = np.arange(length)
    left = np.minimum(moment // KNOT_SAMPLES, len(knots) - 2)
    share = (moment - knots[left]) / (knots[left + 1] - knots[left])
    gain: npt.NDArray[np.complex64] = (weights[:, left] * (1 - share) + weights[:, left + 1] * share).astype(
        np.complex64
    )
    return gain


def _delayed(sent: Envelope, delays: npt.NDArray[Any]) -> Envelope:
    """Each row by its delay, between samples by a cubic through four (Lagrange): HISTORY samples shorter."""
    length = sent.shape[1] - HISTORY
    whole = np.minimum(np.floor(delays), LONGEST_DELAY - 1).astype(np.int64)
    part = (delays - whole).astype(np.float32)
    weights = {  # of the samples 1 later than `whole` to 2 earlier
        -1: -part * (part - 1) * (part - 2) / 6,
        0: (part + 1) * (part - 1) * (part - 2) / 2,
        1: -(part + 1) * part * (part - 2) / 2,
        2: (part + 1) * part * (part - 1) / 6,
    }
    filters = np.zeros((len(sent), HISTORY + 1), np.float32)  # by how many samples back, one sample later first
    for step, weight in weights.items():
        filters[np.arange(len(sent)), whole + step + 1] = weight
    total = np.zeros((len(sent), length), np.complex64)
    for back in range(HISTORY):
        start = HISTORY - back
        total += filters[:, back, None] * sent[:, start : start + length]
    return total
