"""Axes of DET curves: both rates by their normal deviates, in which curves of normal scores are straight."""

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from scipy.stats import norm

SHOWN_RATES: Final = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4)
LOWEST, HIGHEST = 0.0005, 0.5


def set_det_axes(
    at: Axes,
    fmr_ticks: Sequence[float] = SHOWN_RATES,
    fnmr_ticks: Sequence[float] = SHOWN_RATES,
    fmr_range: tuple[float, float] = (LOWEST, HIGHEST),
    fnmr_range: tuple[float, float] = (LOWEST, HIGHEST),
) -> None:
    """Label axes on which normal deviates are drawn by their rates in per cent.

    Args:
        at: axes.
        fmr_ticks: rates that the horizontal axis names.
        fnmr_ticks: the same of the vertical one.
        fmr_range: lowest and highest rate of the horizontal axis, which names none outside.
        fnmr_range: the same of the vertical one.
    """
    fmrs, fnmrs = _within(fmr_ticks, fmr_range), _within(fnmr_ticks, fnmr_range)
    at.set(xlabel="FMR %", xticks=norm.ppf(fmrs), xticklabels=[f"{100 * rate:g}" for rate in fmrs])
    at.set(ylabel="FNMR %", yticks=norm.ppf(fnmrs), yticklabels=[f"{100 * rate:g}" for rate in fnmrs])
    at.set(xlim=norm.ppf(fmr_range), ylim=norm.ppf(fnmr_range))


def _within(rates: Sequence[float], bounds: tuple[float, float]) -> list[float]:
    return [rate for rate in rates if bounds[0] <= rate <= bounds[1]]
