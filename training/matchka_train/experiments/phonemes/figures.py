"""Phone error rates of every arm and over the weights of late fusion, and ratios beside people's marks."""

from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TABLEAU_COLORS
from matplotlib.figure import Figure

from matchka_train.experiments.phonemes.results import Benchmark

DPI: Final = 70  # as matchka_train.experiments.figures


def draw_arms(found: Benchmark, path: Path) -> None:
    """On the left PER of every arm, a dot for each seed; on the right late fusion over the first arm's weight."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    arms, late = figure.subplots(1, 2)
    names = list(dict.fromkeys(run.arm for run in found.runs))
    names.sort(key=lambda name: np.mean([run.per for run in found.runs if run.arm == name]), reverse=True)
    arms.plot([run.per for run in found.runs], [names.index(run.arm) for run in found.runs], "o", alpha=0.6)
    arms.set_yticks(range(len(names)), names)
    arms.set(xlabel="PER, held-out people; a dot for each seed", xlim=(0, 1.02))
    arms.grid(alpha=0.3)
    _draw_late(late, found)
    _save(figure, path)


def draw_marks(found: Benchmark, path: Path) -> None:
    """For each arm, how the log-likelihood ratio lies at each mark that people gave."""
    figure = Figure(figsize=(2 + 2.4 * max(1, len(found.marked)), 4), layout="constrained")
    panels = figure.subplots(1, max(1, len(found.marked)), squeeze=False)[0]
    for at, run in zip(panels, found.marked, strict=False):
        scores, marks = np.asarray(run.scores), np.asarray(run.marks)
        given = np.unique(marks)
        at.boxplot([scores[marks == mark] for mark in given], showfliers=False)
        at.set_xticks(range(1, 1 + given.size), [f"{mark:g}" for mark in given])
        at.set(title=f"{run.arm}\nPearson {run.pearson:.2f}, AUC {run.auc:.2f}", xlabel="people's mark")
    panels[0].set_ylabel("log-likelihood ratio of the text, per phone")
    _save(figure, path)


def _draw_late(axes: Axes, found: Benchmark) -> None:
    colours = list(TABLEAU_COLORS)
    for arms, colour in zip(dict.fromkeys(run.arms for run in found.late), colours, strict=False):
        runs = [run for run in found.late if run.arms == arms]
        weights = sorted({run.weight for run in runs})
        for field, style, how in (("frame_per", "--", "frame"), ("sequence_per", "-", "sequence")):
            means = [np.mean([getattr(run, field) for run in runs if run.weight == weight]) for weight in weights]
            axes.plot(weights, means, style, marker="o", color=colour, label=f"{' + '.join(arms)}, by {how}")
    axes.set(xlabel="weight of the first", ylabel="PER, mean of the seeds")
    axes.grid(alpha=0.3)
    if found.late:
        axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
