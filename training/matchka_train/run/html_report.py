"""One HTML file with the plots inside, which opens from disk without a network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm

from matchka_train.evaluation.validation import Report
from matchka_train.metrics.error_rates import det_curve
from matchka_train.metrics.pairs import PairSimilarities
from matchka_train.run.det_axes import set_det_axes
from matchka_train.run.page import new_figure, write_page

PLOT_POINTS: Final = 2000  # of a DET curve; more are not visible
HISTOGRAM_BINS: Final = 80

Pairs = Mapping[str, Callable[[int], PairSimilarities]]  # domain -> dim -> similarities


@dataclass(frozen=True)
class Contents:
    """What a report shows.

    Attributes:
        title: of the page.
        lines: what is said first, one paragraph each.
        projected: accuracy of the projection.
        raw: accuracy of the raw backbone.
        pairs: similarities of the projection.
        history: epochs of each candidate.
        dims: rising; the last is full_dim.
        numbers: tables, by heading: rows of cells, the first row the header.
    """

    title: str
    lines: Sequence[str]
    projected: Report
    raw: Report
    pairs: Pairs
    history: Mapping[str, Sequence[Mapping[str, Any]]]
    dims: Sequence[int]
    numbers: Mapping[str, Sequence[Sequence[str]]]


def write_report(path: Path, contents: Contents) -> None:
    """Write the page; every plot is inside it."""
    write_page(path, contents.title, contents.lines, contents.numbers, _figures(contents))


def accuracy_rows(projected: Report, raw: Report) -> list[list[str]]:
    """Rows of the accuracy table, the header first."""
    rows = [["domain", "dim", "EER %", "raw EER %", "minDCF", "raw minDCF", "TAR@FMR 1e-2", "TAR@FMR 1e-3", "subjects"]]
    for domain, per_dim in projected.items():
        for dim, accuracy in per_dim.items():
            other = raw[domain][dim]
            values = [100 * accuracy.eer, 100 * other.eer, accuracy.min_dcf, other.min_dcf]
            rates = accuracy.tar_at_fmr.values()
            shown = [f"{value:.2f}" for value in values[:2]] + [f"{value:.3f}" for value in (*values[2:], *rates)]
            rows.append([domain, str(dim), *shown, str(accuracy.subjects)])
    return rows


def _figures(contents: Contents) -> list[tuple[str, Figure]]:
    figures = []
    for name, history in contents.history.items():
        if len(history) > 1:
            figures.append((f"EER per epoch: {name}", _epochs(history, contents.raw)))
    figures.append(("EER against dim", _against_dim(contents)))
    for domain, pairs_at in contents.pairs.items():
        figures.append((f"DET curves: {domain}", _det(pairs_at, contents.dims)))
        figures.append((f"Similarities at {contents.dims[-1]}: {domain}", _histogram(pairs_at(contents.dims[-1]))))
    return figures


def _epochs(history: Sequence[Mapping[str, Any]], raw: Report) -> Figure:
    figure, axes = new_figure(columns=len(raw))
    for at, domain in zip(axes, raw, strict=True):
        for dim in history[0]["report"][domain]:
            rates = [100 * entry["report"][domain][dim]["eer"] for entry in history]
            (line,) = at.plot([entry["epoch"] for entry in history], rates, label=f"dim {dim}")
            at.axhline(100 * raw[domain][int(dim)].eer, color=line.get_color(), linestyle=":", linewidth=0.8)
        at.set(title=f"{domain} (dotted: raw)", xlabel="epoch", ylabel="EER %")
        at.legend(loc="upper right")
    return figure


def _against_dim(contents: Contents) -> Figure:
    figure, axes = new_figure(columns=len(contents.raw))
    for at, domain in zip(axes, contents.raw, strict=True):
        for label, report in (("projection", contents.projected), ("raw backbone, truncated", contents.raw)):
            at.plot(contents.dims, [100 * report[domain][dim].eer for dim in contents.dims], marker="o", label=label)
        at.set(title=domain, xlabel="dim", ylabel="EER %", xscale="log", xticks=contents.dims)
        at.set_xticklabels([str(dim) for dim in contents.dims])
        at.minorticks_off()
        at.legend(loc="upper right")
    return figure


def _det(pairs_at: Callable[[int], PairSimilarities], dims: Sequence[int]) -> Figure:
    figure, (at,) = new_figure(columns=1)
    for dim in dims:
        pairs = pairs_at(dim)
        curve = det_curve(pairs.mated, pairs.non_mated)
        inside = (curve.fmr > 0) & (curve.fmr < 1) & (curve.fnmr > 0) & (curve.fnmr < 1)
        chosen = np.flatnonzero(inside)
        chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, PLOT_POINTS).astype(int))] if len(chosen) else chosen
        at.plot(norm.ppf(curve.fmr[chosen]), norm.ppf(curve.fnmr[chosen]), label=f"dim {dim}")
    set_det_axes(at)
    at.legend(loc="upper right")
    return figure


def _histogram(pairs: PairSimilarities) -> Figure:
    figure, (at,) = new_figure(columns=1)
    for label, similarities in (("non-mated", pairs.non_mated), ("mated", pairs.mated)):
        at.hist(similarities, bins=HISTOGRAM_BINS, density=True, alpha=0.6, label=label)
    at.set(xlabel="similarity", ylabel="density")
    at.legend(loc="upper right")
    return figure
