"""How a message becomes a complex envelope: linear modulations, continuous phase, and the three of broadcast."""

from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from matchka_train.datasets.generator.pulses import SPAN, Times, gaussian_phase, root_raised_cosine, symbols_needed

Envelope: TypeAlias = npt.NDArray[np.complex64]
MESSAGE_ROLL_OFF: Final = 0.5
LOWEST_MESSAGE: Final = 0.1  # of the highest frequency, as 300 Hz of 3.4 kHz
LARGEST_MESSAGE: Final = 2.5  # standard deviations; transmitters limit what they are given


class Modulation(Protocol):
    """One way to modulate."""

    def envelope(self, times: Times, samples_per_symbol: float, shape: float, rng: np.random.Generator) -> Envelope:
        """Random messages, each through this modulation.

        Args:
            times: (n, length), the receiver's moments, in samples from 0 on.
            samples_per_symbol: of the message; of audio, samples for each of its independent values.
            shape: what else a waveform of this modulation has; see each.
            rng: draws the messages.

        Returns: complex64, (n, length), of about unit power.
        """
        ...


@dataclass(frozen=True)
class Linear:
    """Points times a root raised cosine, whose roll-off is the shape. Attributes: points: complex, of unit power."""

    points: npt.NDArray[np.complex64]

    def envelope(self, times: Times, samples_per_symbol: float, shape: float, rng: np.random.Generator) -> Envelope:
        """See Modulation."""
        drawn = rng.integers(len(self.points), size=_size(times, samples_per_symbol))
        return root_raised_cosine(shape).sum_at(self.points[drawn], _in_symbols(times, samples_per_symbol, rng))


@dataclass(frozen=True)
class ContinuousPhase:
    """Two frequencies with a phase that never jumps.

    Attributes:
        index: cycles between the two frequencies a symbol; None takes the waveform's shape.
        gaussian: whether the shape is the bandwidth-time product of a Gaussian before the modulator.
    """

    index: float | None
    gaussian: bool

    def envelope(self, times: Times, samples_per_symbol: float, shape: float, rng: np.random.Generator) -> Envelope:
        """See Modulation."""
        symbols = rng.choice(np.array([-1, 1], np.float32), _size(times, samples_per_symbol))
        moments = _in_symbols(times, samples_per_symbol, rng)
        near = gaussian_phase(shape if self.gaussian else None).sum_at(symbols, moments)
        whole = np.take_along_axis(np.cumsum(symbols, axis=1), np.floor(moments).astype(np.int64), axis=1)
        return _turned(np.pi * (shape if self.index is None else self.index) * (whole + near))


@dataclass(frozen=True)
class AmplitudeWithCarrier:
    """Both side bands and the carrier; the shape is the share of the carrier that audio of one deviation moves."""

    def envelope(self, times: Times, samples_per_symbol: float, shape: float, rng: np.random.Generator) -> Envelope:
        """See Modulation."""
        sent: Envelope = (1 + shape * _message(times, samples_per_symbol, rng)).astype(np.complex64)
        return sent


@dataclass(frozen=True)
class SingleSideBand:
    """One side band and no carrier; the shape is 1 for the upper and -1 for the lower.

    The analytic signal of Gaussian audio is circular Gaussian noise of its band, which is drawn directly.
    """

    def envelope(self, times: Times, samples_per_symbol: float, shape: float, rng: np.random.Generator) -> Envelope:
        """See Modulation."""
        parts = rng.standard_normal((2, *_size(times, 2 * samples_per_symbol)), np.float32)
        moments = _in_symbols(times, 2 * samples_per_symbol, rng)
        low = root_raised_cosine(MESSAGE_ROLL_OFF).sum_at((parts[0] + 1j * parts[1]) / np.sqrt(2), moments)
        centre = (0.5 * (1 + MESSAGE_ROLL_OFF) + LOWEST_MESSAGE) / (2 * samples_per_symbol)
        shifted: Envelope = (low * _turned(2 * np.pi * shape * centre * times)).astype(np.complex64)
        return shifted


@dataclass(frozen=True)
class WideFrequency:
    """Frequency that follows audio; the shape is the deviation at audio of one deviation, in cycles a sample."""

    def envelope(self, times: Times, samples_per_symbol: float, shape: float, rng: np.random.Generator) -> Envelope:
        """See Modulation."""
        message = _message(times, samples_per_symbol, rng)
        start = rng.uniform(0, 2 * np.pi, (len(times), 1))
        return _turned(start + 2 * np.pi * shape * np.cumsum(message, axis=1))


def _message(times: Times, samples_per_symbol: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Limited Gaussian audio of unit deviation, whose band ends at about 3 / 4 a value's length."""
    values = rng.standard_normal(_size(times, samples_per_symbol), np.float32)
    found = root_raised_cosine(MESSAGE_ROLL_OFF).sum_at(values, _in_symbols(times, samples_per_symbol, rng))
    limited: npt.NDArray[np.float32] = np.clip(found, -LARGEST_MESSAGE, LARGEST_MESSAGE).astype(np.float32)
    return limited


def _turned(phase: npt.NDArray[Any]) -> Envelope:
    turned: Envelope = np.exp(1j * phase.astype(np.float32)).astype(np.complex64)
    return turned


def _size(times: Times, samples_per_symbol: float) -> tuple[int, int]:
    return len(times), symbols_needed(int(np.ceil(times.max())) + 1, samples_per_symbol)


def _in_symbols(times: Times, samples_per_symbol: float, rng: np.random.Generator) -> Times:
    """Moments in symbols, each row with a timing of its own."""
    moments: Times = times / samples_per_symbol + SPAN + rng.random((len(times), 1))
    return moments


def _of_unit_power(points: list[complex] | npt.NDArray[np.complex128]) -> npt.NDArray[np.complex64]:
    given = np.asarray(points, np.complex128)
    scaled: npt.NDArray[np.complex64] = (given / np.sqrt(np.mean(np.abs(given) ** 2))).astype(np.complex64)
    return scaled


def _phases(count: int) -> npt.NDArray[np.complex64]:
    return _of_unit_power(np.exp(2j * np.pi * np.arange(count) / count))


def square(side: int) -> npt.NDArray[np.complex64]:
    """The points of a quadrature modulation of side x side, of unit power."""
    levels = np.arange(side) * 2.0 - side + 1
    return _of_unit_power((levels[:, None] + 1j * levels).ravel())


MODULATIONS: Final[dict[str, Modulation]] = {
    "BPSK": Linear(_phases(2)),
    "QPSK": Linear(_phases(4)),
    "8PSK": Linear(_phases(8)),
    "QAM16": Linear(square(4)),
    "QAM64": Linear(square(8)),
    "PAM4": Linear(_of_unit_power([-3, -1, 1, 3])),
    "GFSK": ContinuousPhase(index=0.3, gaussian=True),
    "CPFSK": ContinuousPhase(index=None, gaussian=False),
    "AM-DSB": AmplitudeWithCarrier(),
    "AM-SSB": SingleSideBand(),
    "WBFM": WideFrequency(),
}
