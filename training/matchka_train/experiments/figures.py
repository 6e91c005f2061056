"""One figure for each experiment: every seed thin, their mean thick."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from matchka_train.experiments.equalizer import ARMS as EQUALIZER_ARMS
from matchka_train.experiments.equalizer import LOG_EVERY, EqualizerRuns
from matchka_train.experiments.face_heads import LOSSES, PLACES, FaceHeads
from matchka_train.experiments.promises import Cell, Promises
from matchka_train.experiments.two_stage import NEVER, ArmRecipe, Epoch, Run, TwoStage, arms_of

DPI: Final = 70  # keeps the files below 200 kB, small enough for a repository
LEAST_DRAWN: Final = 0.03  # a rate of 0 has no place on a logarithmic axis
COLOURS: Final = ("tab:blue", "tab:red", "tab:orange", "tab:green")


def draw_two_stage(found: TwoStage, path: Path) -> None:
    """Losses above, EER on unseen people below: one row for each domain, one column for each dim.

    Args:
        found: what the experiment found.
        path: of a PNG file.
    """
    domains, dims = list(found.raw), list(next(iter(found.raw.values())))
    figure = Figure(figsize=(3.4 * max(2, len(dims)), 2.6 * (1 + len(domains))), layout="constrained")
    grid = figure.add_gridspec(1 + len(domains), 2 * max(2, len(dims)))
    arms = arms_of(found)
    losses: tuple[tuple[str, Callable[[Any], float | None]], ...] = (
        ("training loss", lambda epoch: epoch.train_loss),
        ("classification loss, held-out utterances", lambda epoch: epoch.held_out_loss),
    )
    width = max(2, len(dims))
    for column, (title, value) in enumerate(losses):
        at = figure.add_subplot(grid[0, column * width : (column + 1) * width])
        _arms(at, arms, found.runs, value)
        at.set(title=title, ylim=(0, None))
        at.legend(fontsize=8, loc="upper right")
    for row, domain in enumerate(domains):
        for column, dim in enumerate(dims):
            at = figure.add_subplot(grid[1 + row, 2 * column : 2 * column + 2])
            _arms(at, arms, found.runs, partial(_per_cent, domain, dim))
            at.axhline(100 * found.raw[domain][dim], color="black", linestyle=":", linewidth=1)
            at.set(title=f"EER %, {domain}, dim {dim}", xlabel="epoch" if row == len(domains) - 1 else "")
    _save(figure, path)


def _per_cent(domain: str, dim: int, epoch: Epoch) -> float:
    return 100 * epoch.eer[domain][dim]


def _arms(at: Axes, arms: Sequence[ArmRecipe], runs: Sequence[Run], value: Callable[[Any], float | None]) -> None:
    for arm, colour in zip(arms, COLOURS, strict=False):
        _lines(at, [run.epochs for run in runs if run.arm == arm], value, colour, arm.name)
        if arm.freeze_backbone_epochs != NEVER:
            at.axvline(arm.freeze_backbone_epochs, color=colour, linestyle=":", linewidth=1)


def draw_face_heads(found: FaceHeads, path: Path) -> None:
    """Paired similarity beside what it hides: one row for what is trained, one column for each way to watch.

    Args:
        found: what the experiment found.
        path: of a PNG file.
    """
    ways: tuple[tuple[str, Callable[[Any], float]], ...] = (
        ("similarity of paired views (training)", lambda epoch: epoch.paired),
        ("similarity, probe and own reference", lambda epoch: epoch.unseen.mated),
        ("rank 1 on unseen people, %", lambda epoch: 100 * epoch.unseen.rank_1),
        ("EER on unseen people, %", lambda epoch: 100 * epoch.unseen.eer),
    )
    figure = Figure(figsize=(3.4 * len(ways), 2.9 * len(PLACES)), layout="constrained")
    axes = figure.subplots(len(PLACES), len(ways), squeeze=False)
    for row, place in zip(axes, PLACES, strict=True):
        for at, (title, value) in zip(row, ways, strict=True):
            for loss, colour in zip(LOSSES, COLOURS, strict=False):
                chosen = [run.epochs for run in found.runs if (run.place, run.loss) == (place, loss)]
                _lines(at, chosen, value, colour, loss)
            at.axhline(value(found.untouched), color="black", linestyle=":", linewidth=1, label="untouched backbone")
            at.set(title=title, xlabel="epoch")
        row[0].set_ylabel(place)
        row[0].legend(fontsize=8, loc="upper right")
    _save(figure, path)


def draw_promises(found: Promises, path: Path) -> None:
    """Every half of every split as a dot: the rate it had as a multiple of the one asked for, by both rules.

    Args:
        found: what the experiment found.
        path: of a PNG file.
    """
    measured = [cell for cell in found.cells if not cell.modelled]
    kinds = (
        ("FMR", [cell for cell in measured if not cell.gallery]),
        ("FPIR", [cell for cell in measured if cell.gallery]),
    )
    height = 0.22 * max(len(cells) for _, cells in kinds) + 1.2
    figure = Figure(figsize=(12, height), layout="constrained")
    for at, (rate, cells) in zip(figure.subplots(1, len(kinds)), kinds, strict=True):
        for rule, colour, shift in (("plain", "tab:red", -0.18), ("bound", "tab:blue", 0.18)):
            multiples = [np.maximum(np.asarray(cell.achieved[rule]) / cell.asked, LEAST_DRAWN) for cell in cells]
            rows = np.repeat(np.arange(len(cells)) + shift, [len(values) for values in multiples])
            at.scatter(np.concatenate(multiples), rows, s=5, alpha=0.35, color=colour, linewidths=0)
            means = [cell.mean(rule) for cell in cells]
            at.scatter(means, np.arange(len(cells)) + shift, s=28, marker="|", color=colour, label=f"{rule}, mean")
        at.axvline(1.0, color="black", linewidth=1)
        at.axvline(1.5, color="black", linewidth=1, linestyle=":")
        at.set(xscale="log", xlabel=f"{rate} on unseen people / {rate} asked for", ylim=(len(cells) - 0.4, -0.6))
        at.set_yticks(range(len(cells)), [_cell_name(cell) for cell in cells], fontsize=7)
    figure.axes[0].legend(fontsize=8, loc="lower left")
    _save(figure, path)


def draw_equalizer(found: EqualizerRuns, path: Path) -> None:
    """Above, what each arm decodes from the mean code of a word; below, both losses, with words at random dotted.

    Args:
        found: what the experiment found.
        path: of a PNG file.
    """
    figure = Figure(figsize=(3.4 * len(EQUALIZER_ARMS), 7), layout="constrained")
    axes = figure.subplots(3, len(EQUALIZER_ARMS), squeeze=False)
    for column, arm in enumerate(EQUALIZER_ARMS):
        for run in (run for run in found.runs if run.arm == arm):
            steps = [LOG_EVERY * number for number in range(len(run.contrastive))]
            style = ":" if run.shuffled else "-"
            axes[1][column].plot(steps, run.reconstruction, style, color="tab:blue", linewidth=1)
            axes[2][column].plot(steps, run.contrastive, style, color="tab:red", linewidth=1)
            if not run.shuffled:
                for (word, curve), colour in zip(run.curves.items(), COLOURS, strict=False):
                    label = word if run.seed == found.runs[0].seed else None
                    axes[0][column].plot(found.grid_hz, curve, color=colour, linewidth=1, label=label)
        axes[0][column].set(title=arm, xscale="log", xlabel="Hz", ylim=(-20, 20))
        axes[1][column].set(yscale="log", xlabel="step")
        axes[2][column].set(xlabel="step")
    axes[0][0].legend(fontsize=8)
    for row, name in enumerate(("decoded response, dB", "reconstruction loss", "contrastive loss")):
        axes[row][0].set_ylabel(name)
    _save(figure, path)


def _cell_name(cell: Cell) -> str:
    gallery = f", 1:{cell.gallery}" if cell.gallery else ""
    return f"{cell.domain}, {cell.templates} t.{gallery}, {100 * cell.asked:g} %"


def _lines(
    at: Axes, runs: Sequence[Sequence[Any]], value: Callable[[Any], float | None], colour: str, label: str
) -> None:
    """Every run of one arm, and their mean."""
    drawn = [[(epoch.epoch, float(found)) for epoch in run if (found := value(epoch)) is not None] for run in runs]
    if not drawn:
        return
    for run in drawn:
        at.plot(*zip(*run, strict=True), color=colour, linewidth=0.5, alpha=0.5)
    means = np.mean([[height for _, height in run] for run in drawn], axis=0)
    at.plot([epoch for epoch, _ in drawn[0]], means, color=colour, linewidth=2, label=label)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
