"""What the benchmark found, as rows for a terminal and for docs/experiments; means over seeds, and their range."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np

from matchka_train.experiments.phonemes.claims import claim_rows
from matchka_train.experiments.phonemes.results import ArmRun, Benchmark
from matchka_train.experiments.seeds import mean_and_range

Rows: TypeAlias = list[list[str]]
BLOCK: Final = re.compile(r"<!-- rows: ([a-z-]+) -->\n.*?<!-- end -->", re.DOTALL)


def arm_rows(found: Benchmark) -> list[list[str]]:
    """Phone error rates of every arm on people who decided nothing; the header first."""
    rows = [["arm", "parameters", "seeds", "PER", "below 18", "18 and above", "blank frames"]]
    for name in dict.fromkeys(run.arm for run in found.runs):
        runs = [run for run in found.runs if run.arm == name]
        shown = [_mean([run.per for run in runs]), _mean(_known(runs, "child_per")), _mean(_known(runs, "adult_per"))]
        blank = f"{np.mean([run.blank_share for run in runs]):.0%}"
        rows.append([name, str(runs[0].parameters), str(len(runs)), *shown, blank])
    return rows


def marked_rows(found: Benchmark) -> list[list[str]]:
    """Agreement with people's marks; the header first."""
    rows = [
        [
            *("arm", "PER, mark 8 and above", "Pearson", "AUC", "Pearson of 1 - PER", "AUC of 1 - PER"),
            *("error in marks", "of the mean mark", "clips", "speakers"),
        ]
    ]
    for run in found.marked:
        rates = [run.per, run.pearson, run.auc, run.error_pearson, run.error_auc, run.line.error]
        shown = [f"{rate:.3f}" for rate in (*rates, run.line.constant_error)]
        shown[1] += _interval(run.pearson_interval)
        shown[2] += _interval(run.auc_interval)
        rows.append([run.arm, *shown, str(run.clips), str(run.speakers)])
    return rows


def marked_group_rows(found: Benchmark) -> list[list[str]]:
    """The same within groups of age and within the parts of the speakers; the header first."""
    rows = [["arm", "readers", "Pearson", "AUC", "clips", "speakers"]]
    for run in found.marked:
        for name, part in (run.ages | run.parts).items():
            rows.append([run.arm, name, f"{part.pearson:.3f}", f"{part.auc:.3f}", str(part.clips), str(part.speakers)])
    return rows


def late_rows(found: Benchmark) -> list[list[str]]:
    """Two arms joined behind their posteriors, by the weight of the first; the header first."""
    rows = [["arms", "weight", "seeds", "PER by frame", "PER by sequence"]]
    for arms, weight in dict.fromkeys((run.arms, run.weight) for run in found.late):
        runs = [run for run in found.late if (run.arms, run.weight) == (arms, weight)]
        shown = [_mean([run.frame_per for run in runs]), _mean([run.sequence_per for run in runs])]
        rows.append([" + ".join(arms), f"{weight:g}", str(len(runs)), *shown])
    return rows


def confusion_rows(found: Benchmark) -> list[list[str]]:
    """The most frequent confusions of the run with the fewest errors; the header first."""
    best = sorted(found.runs, key=lambda run: run.per)[:1]
    rows = [["to be read", *(f"decoded by {run.arm}" for run in best), "times"]]
    return rows + [[one or "-", other or "-", str(n)] for run in best for one, other, n in run.confusions]


TABLES: Final[Mapping[str, Callable[[Benchmark], Rows]]] = {
    "arms": arm_rows,
    "claims": claim_rows,
    "late": late_rows,
    "marks": marked_rows,
    "marks-by-group": marked_group_rows,
    "confusions": confusion_rows,
}


def phonemes_page(page: str, found: Benchmark) -> str:
    """The page with its marked tables written anew; what was not run this time stays as it stands.

    A table begins with `<!-- rows: NAME -->` and ends with `<!-- end -->`; one that the page lacks comes to its end.

    Args:
        page: Markdown; empty where there is none yet.
        found: rows of its tables.
    """
    tables = {name: _markdown(rows) for name, of in TABLES.items() if len(rows := of(found)) > 1}

    def written(block: re.Match[str]) -> str:
        name = block.group(1)
        return f"<!-- rows: {name} -->\n{tables.pop(name)}<!-- end -->" if name in tables else block.group()

    page = BLOCK.sub(written, page)
    return page + "".join(f"\n<!-- rows: {name} -->\n{table}<!-- end -->\n" for name, table in tables.items())


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    header, *others = rows
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, ["---"] * len(header), *others))


def _known(runs: Sequence[ArmRun], field: str) -> list[float]:
    return [value for run in runs if (value := getattr(run, field)) is not None]


def _mean(rates: Sequence[float]) -> str:
    return mean_and_range(rates, 3, "-") if rates else "-"


def _interval(edges: tuple[float, float] | None) -> str:
    return "" if edges is None else f" ({edges[0]:.3f}-{edges[1]:.3f})"
