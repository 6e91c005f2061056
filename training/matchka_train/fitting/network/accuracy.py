"""How well a radio network tells modulations apart and estimates the SNR, by SNR and by band of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from matchka_train.fitting.network.losses import denoising_error
from matchka_train.fitting.network.windows import Windows

BATCH: Final = 1000
BANDS: Final[dict[str, tuple[float, float]]] = {  # in dB, both ends included
    "all": (-20, 18),
    "-14..-6": (-14, -6),
    "-4..6": (-4, 6),
    ">= 10": (10, 18),
}
MERGED: Final = (("QAM16", "QAM64"), ("AM-DSB", "AM-SSB"))  # pairs that a short window hardly tells apart


@dataclass(frozen=True)
class NetworkAccuracy:
    """What was found on test windows; m modulations at s SNRs.

    Attributes:
        modulations: in the order of the counts.
        snrs_db: rising.
        counts: windows by SNR, true and found modulation, (s, m, m).
        snr_error_db: mean absolute error of the estimated SNR, (s,); empty where none is estimated.
        denoising_error_db: error of the denoised signal to its power, (s,); empty without a denoiser.
    """

    modulations: tuple[str, ...]
    snrs_db: tuple[float, ...]
    counts: list[list[list[int]]]
    snr_error_db: list[float]
    denoising_error_db: list[float]

    def confusion(self, low: float, high: float) -> npt.NDArray[np.int64]:
        """Counts of true and found modulation between two SNRs, both included: (m, m)."""
        taken = [low <= snr <= high for snr in self.snrs_db]
        total: npt.NDArray[np.int64] = np.asarray(self.counts, np.int64)[taken].sum(axis=0)
        return total

    def accuracy(self, band: str) -> float:
        """Share of right answers in one of BANDS."""
        return _right(self.confusion(*BANDS[band]))

    def accuracy_merged(self, band: str) -> float:
        """The same where a modulation of MERGED may be taken for the other of its pair."""
        groups = np.arange(len(self.modulations))
        for pair in MERGED:
            places = [self.modulations.index(name) for name in pair if name in self.modulations]
            groups[places] = min(places, default=0)
        counts = self.confusion(*BANDS[band])
        return float(counts[groups[:, None] == groups].sum() / counts.sum())

    def accuracy_by_snr(self) -> list[float]:
        """Share of right answers at each SNR."""
        return [_right(np.asarray(counts)) for counts in self.counts]

    def snr_error(self, low: float, high: float) -> float:
        """Mean error of the estimated SNR between two SNRs, in dB."""
        return float(np.mean([e for e, snr in zip(self.snr_error_db, self.snrs_db, strict=True) if low <= snr <= high]))


def measure_network(network: nn.Module, modulations: Sequence[str], windows: Windows) -> NetworkAccuracy:
    """Classify windows that no training has seen.

    Args:
        network: in evaluation mode.
        modulations: in the order of its outputs.
        windows: with classes of that order.
    """
    with torch.inference_mode():
        found = [network(windows.rows[start : start + BATCH]) for start in range(0, len(windows), BATCH)]
        snr_db = windows.snr_db.numpy()
        error = np.abs(torch.cat([one.snr_db for one in found])[:, 0].numpy() - snr_db)
        chosen = torch.cat([one.logits for one in found]).argmax(dim=1).numpy()
        denoised = [one.denoised for one in found]
        left = None if denoised[0] is None else denoising_error(torch.cat(denoised), windows.clean).numpy()
    of = [snr_db == snr for snr in np.unique(snr_db)]
    return replace(
        accuracy_of(modulations, windows, chosen),
        snr_error_db=[float(error[rows].mean()) for rows in of],
        denoising_error_db=[] if left is None else [float(10 * np.log10(left[rows].mean())) for rows in of],
    )


def accuracy_of(modulations: Sequence[str], windows: Windows, chosen: npt.NDArray[Any]) -> NetworkAccuracy:
    """Count what was chosen for windows, by whatever means: integers, (n,), places in `modulations`."""
    snr_db = windows.snr_db.numpy()
    snrs = np.unique(snr_db)
    counts = np.zeros((len(snrs), len(modulations), len(modulations)), np.int64)
    np.add.at(counts, (np.searchsorted(snrs, snr_db), windows.classes.numpy(), chosen), 1)
    return NetworkAccuracy(tuple(modulations), tuple(snrs.tolist()), counts.tolist(), [], [])


def _right(counts: npt.NDArray[Any]) -> float:
    return float(np.trace(counts) / counts.sum())
