"""Recordings drawn from seeds; the draws of training, validation and tests cannot meet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from matchka_train.datasets.generator.channel import ChannelRange, receiver_times, through_channel, with_noise
from matchka_train.datasets.generator.modulations import MODULATIONS, Envelope
from matchka_train.datasets.generator.strangers import STRANGERS
from matchka_train.datasets.generator.waveforms import Waveform

WINDOW_SAMPLES: Final = 128
SNRS_DB: Final = tuple(range(-20, 20, 2))
SMALLEST_POWER: Final = 1e-12  # a fade that leaves less is no signal

Split = Literal["train", "validation", "test", "hidden"]
SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test", "hidden")
PURPOSES: Final = ("choice", "message", "channel", "noise")


@dataclass(frozen=True)
class Draw:
    """Where a batch of recordings comes from.

    Attributes:
        seed: of a whole experiment.
        split: what the recordings are for; each has a branch of the seed's tree of its own, so none can draw what
            another one does, whatever the numbers.
        number: of the batch within the split, such as the epoch.
    """

    seed: int
    split: Split
    number: int = 0

    def generators(self) -> dict[str, np.random.Generator]:
        """A generator for each of PURPOSES: who sees a message again does not see its channel again."""
        return {
            purpose: np.random.default_rng(
                np.random.SeedSequence(self.seed, spawn_key=(SPLITS.index(self.split), place, self.number))
            )
            for place, purpose in enumerate(PURPOSES)
        }


@dataclass(frozen=True)
class Recordings:
    """What was drawn.

    Attributes:
        noisy: complex64, (n, length), what a receiver gets.
        clean: complex64, (n, length), the same without noise.
        waveforms: int64, (n,), numbers of the waveforms.
        snr_db: float32, (n,).
    """

    noisy: Envelope
    clean: Envelope
    waveforms: npt.NDArray[np.int64]
    snr_db: npt.NDArray[np.float32]


def draw_recordings(
    choices: Sequence[Waveform],
    waveforms: npt.NDArray[np.int64],
    snr_db: npt.NDArray[np.float32],
    draw: Draw,
    windows: int = 1,
    channel: ChannelRange | None = None,
) -> Recordings:
    """Recordings of given waveforms at given SNRs, each with a message and a channel of its own.

    Args:
        choices: the waveforms that are counted.
        waveforms: int64, (n,), which of them each recording is.
        snr_db: (n,).
        draw: where the rest comes from.
        windows: length of each, in windows of WINDOW_SAMPLES; one message over one channel.
        channel: how far channels vary; None takes the default.
    """
    limits = channel or ChannelRange()
    rngs = draw.generators()
    length = windows * WINDOW_SAMPLES
    clean = np.empty((len(waveforms), length), np.complex64)
    for number in np.unique(waveforms):
        rows = np.flatnonzero(waveforms == number)
        chosen = choices[number]
        times = receiver_times(len(rows), length, limits, rngs["channel"])
        modulation = {**MODULATIONS, **STRANGERS}[chosen.modulation]
        sent = modulation.envelope(times, chosen.samples_per_symbol, chosen.shape, rngs["message"])
        clean[rows] = through_channel(sent, limits, rngs["channel"])
    clean /= np.sqrt(np.maximum(np.mean(np.abs(clean) ** 2, axis=1, keepdims=True), SMALLEST_POWER))
    return Recordings(with_noise(clean, snr_db, rngs["noise"]), clean, waveforms, np.asarray(snr_db, np.float32))


def draw_evenly(
    choices: Sequence[Waveform], count: int, snrs_db: Sequence[float], draw: Draw, windows: int = 1
) -> Recordings:
    """Recordings whose modulations and SNRs are even: every modulation at every SNR about equally often.

    Args:
        choices: the waveforms; those of one modulation share its recordings.
        count: of recordings.
        snrs_db: their SNRs.
        draw: where they come from.
        windows: length of each.
    """
    rng = draw.generators()["choice"]
    names = sorted({waveform.modulation for waveform in choices})
    of = {name: [place for place, one in enumerate(choices) if one.modulation == name] for name in names}
    cells = rng.permutation(count)
    modulation, snr = cells % len(names), cells // len(names) % len(snrs_db)
    share = rng.random(count)
    sizes = np.array([len(of[name]) for name in names])
    table = np.array([of[name] + [0] * (sizes.max() - len(of[name])) for name in names])
    waveforms = table[modulation, (share * sizes[modulation]).astype(np.int64)]
    return draw_recordings(choices, waveforms, np.asarray(snrs_db, np.float32)[snr], draw, windows)
