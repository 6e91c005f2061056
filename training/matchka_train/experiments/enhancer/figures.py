"""Spectra of chips: no person can be seen in them."""

from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from matchka_train.experiments.enhancer.run import LowResolution

DPI: Final = 70  # as matchka_train.experiments.figures


def draw_spectra(found: LowResolution, path: Path) -> None:
    """Mean amplitude over spatial frequency, of chips at full size, as they are cut and enhanced."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    at = figure.subplots()
    for name, amplitudes in found.spectra.items():
        at.plot(found.frequencies, amplitudes, label=name)
    at.set(xlabel="cycles in a chip", ylabel="mean amplitude, powers of ten", xscale="log")
    at.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
