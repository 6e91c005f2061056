"""Made windows as a network's training takes them, and what they become where they are mixed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import torch
from torch import Tensor

from matchka.modalities.iq.windows import unit_power
from matchka_train.datasets.generator.recordings import SNRS_DB, Draw, draw_evenly
from matchka_train.datasets.generator.waveforms import WAVEFORMS, Waveform

SMALLEST_POWER: Final = 1e-6


@dataclass(frozen=True)
class Windows:
    """Windows with all that is known of them; n is their number.

    Attributes:
        rows: float32, (n, 2, samples), of unit mean power.
        clean: float32, (n, 2, samples), the signal in them.
        classes: int64, (n,), places in the network's modulations.
        waveforms: int64, (n,), places in waveforms_of.
        snr_db: float32, (n,).
    """

    rows: Tensor
    clean: Tensor
    classes: Tensor
    waveforms: Tensor
    snr_db: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def noise_fraction(self) -> Tensor:
        """The noise's share of the power that is expected: float32, (n,)."""
        return 1 / (1 + 10 ** (self.snr_db / 10))

    def take(self, places: Tensor) -> "Windows":
        """Some of them, in this order."""
        return Windows(*(getattr(self, field.name)[places] for field in fields(self)))


def waveforms_of(modulations: Sequence[str]) -> tuple[Waveform, ...]:
    """The waveforms that a network of these modulations is trained on."""
    return tuple(waveform for waveform in WAVEFORMS if waveform.modulation in modulations)


def draw_windows(modulations: tuple[str, ...], count: int, draw: Draw) -> Windows:
    """Windows of every modulation at every SNR about equally often."""
    choices = waveforms_of(modulations)
    drawn = draw_evenly(choices, count, SNRS_DB, draw)
    rows = unit_power(drawn.noisy)
    scale = np.sqrt(np.mean(np.abs(drawn.noisy) ** 2, axis=1))[:, None, None]
    clean = np.stack([drawn.clean.real, drawn.clean.imag], axis=1) / scale
    classes = np.array([modulations.index(waveform.modulation) for waveform in choices])
    return Windows(
        torch.from_numpy(rows),
        torch.from_numpy(clean.astype(np.float32)),
        torch.from_numpy(classes[drawn.waveforms]),
        torch.from_numpy(drawn.waveforms),
        torch.from_numpy(drawn.snr_db),
    )


def batches_of(windows: Windows, batch: int, snr_balanced: bool, rng: np.random.Generator) -> Iterator[Windows]:
    """All windows once in batches of one size; the last few that fill none are left out.

    Args:
        windows: of an epoch.
        batch: windows of each.
        snr_balanced: whether every batch has every SNR equally often.
        rng: shuffles them.
    """
    order = rng.permutation(len(windows))
    if snr_balanced:  # the first of every SNR, then the second of every SNR, and so on
        snr_db = windows.snr_db.numpy()[order]
        turn = np.empty(len(order), np.int64)
        for value in np.unique(snr_db):
            same = np.flatnonzero(snr_db == value)
            turn[same] = np.arange(len(same))
        order = order[np.argsort(turn, kind="stable")]
    for start in range(0, len(order) - batch + 1, batch):
        yield windows.take(torch.from_numpy(order[start : start + batch]))


@dataclass(frozen=True)
class Mixed:
    """A batch mixed with itself in another order.

    Attributes:
        windows: the mixed windows; their classes and waveforms are those of the first of each pair.
        second: the windows that each was mixed with.
        share: of the first, in [0, 1].
        is_mixed: bool, (n,); the others are as they were.
    """

    windows: Windows
    second: Windows
    share: float
    is_mixed: Tensor


def mix(windows: Windows, alpha: float, lowest_snr_db: float, rng: np.random.Generator) -> Mixed:
    """Mix windows in pairs, and all that is known of them in the same shares; the sum is scaled to unit power.

    Args:
        windows: of one batch.
        alpha: of the Beta distribution of the share.
        lowest_snr_db: windows below take no part.
        rng: draws share and pairs.
    """
    share = float(rng.beta(alpha, alpha))
    is_mixed = windows.snr_db >= lowest_snr_db
    partners = torch.arange(len(windows))
    taking_part = torch.nonzero(is_mixed)[:, 0]
    partners[taking_part] = taking_part[torch.from_numpy(rng.permutation(len(taking_part)))]
    second = windows.take(partners)
    rows = share * windows.rows + (1 - share) * second.rows
    scale = torch.sqrt((rows**2).sum(dim=1).mean(dim=1).clamp(min=SMALLEST_POWER))[:, None, None]
    mixed = Windows(
        rows / scale,
        (share * windows.clean + (1 - share) * second.clean) / scale,
        windows.classes,
        windows.waveforms,
        share * windows.snr_db + (1 - share) * second.snr_db,
    )
    return Mixed(mixed, second, share, is_mixed)
