"""Accuracy over SNR, every seed thin and their mean thick, and what is taken for what."""

from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.colors import TABLEAU_COLORS
from matplotlib.figure import Figure

from matchka_train.experiments.radio.arms import ARMS
from matchka_train.experiments.radio.radio import Radio
from matchka_train.fitting.network.accuracy import BANDS

DPI: Final = 70  # as matchka_train.experiments.figures
SHOWN_BAND: Final = ">= 10"


def draw_radio(found: Radio, path: Path) -> None:
    """Accuracy over SNR, and above it the difference from the first arm."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    rates, differences = figure.subplots(2, 1, sharex=True)
    snrs = found.runs[0].found.snrs_db
    base = np.mean([run.accuracy_by_snr() for run in found.of(next(iter(ARMS)))], axis=0)
    for arm, colour in zip(ARMS, TABLEAU_COLORS, strict=False):
        runs = [100 * np.asarray(run.accuracy_by_snr()) for run in found.of(arm)]
        for run in runs:
            rates.plot(snrs, run, color=colour, linewidth=0.4, alpha=0.5)
        rates.plot(snrs, np.mean(runs, axis=0), color=colour, linewidth=1.6, label=arm)
        differences.plot(snrs, np.mean(runs, axis=0) - 100 * base, color=colour, linewidth=1.6)
    rates.set(ylabel="accuracy %", ylim=(0, 100))
    rates.legend(fontsize=8, loc="upper left")
    differences.set(xlabel="SNR, dB", ylabel="difference from the first arm, points")
    differences.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)


def draw_confusion(found: Radio, path: Path) -> None:
    """What is taken for what at high SNR, by the first arm and by the last."""
    arms = list(ARMS)
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    for at, arm in zip(figure.subplots(1, 2), (arms[0], arms[-1]), strict=True):
        runs = found.of(arm)
        counts = np.sum([run.confusion(*BANDS[SHOWN_BAND]) for run in runs], axis=0)
        shares = 100 * counts / counts.sum(axis=1, keepdims=True)
        names = runs[0].modulations
        at.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        at.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        at.set_yticks(range(len(names)), names, fontsize=7)
        at.set(title=f"{arm}, {SHOWN_BAND} dB", xlabel="found", ylabel="is")
        for row, line in enumerate(shares):
            for column, share in enumerate(line):
                if share >= 1:
                    at.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=6)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
