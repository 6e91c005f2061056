"""A 1:1 decision as a table."""

from typing import Final

from rich.table import Table

from matchka.cli.output.scores import shown
from matchka.client.answers import FusedVerifyAnswer, VerifyAnswer

LARGEST_SHOWN: Final = 0.99995  # a probability above it would be printed as 1.0000
DECISION_COLUMNS: Final = ("similarity", "threshold", "probability", "dim")


def decision_table(answer: VerifyAnswer | FusedVerifyAnswer) -> Table:
    """The decision on a sample, or on two together beside what each would decide alone."""
    return _joint_table(answer) if isinstance(answer, FusedVerifyAnswer) else _table(answer)


def _table(answer: VerifyAnswer) -> Table:
    table = Table("match", *DECISION_COLUMNS, "max FMR", caption=_sizes(answer))
    table.add_row(_yes_or_no(answer.match), *_decision_cells(answer), f"{answer.max_fmr:g}")
    return table


def _sizes(answer: VerifyAnswer) -> str | None:
    """How large the faces were, which the threshold depends on; None where no size is known."""
    seen = [face for face in answer.faces or () if face and face.native_px is not None]
    told = [f"{face.native_px:.0f} px{', enhanced' if face.enhanced else ''}" for face in seen]
    return f"face: {'; '.join(told)}" if told else None


def _joint_table(answer: FusedVerifyAnswer) -> Table:
    """What each model would decide alone; together there is neither an embedding nor its dim, but a probability."""
    table = Table("alone", "match", *DECISION_COLUMNS, title=f"together: {'match' if answer.match else 'no match'}")
    for name, part in (answer.parts or {}).items():
        table.add_row(name, _yes_or_no(part.match), *_decision_cells(part))
    least = None if answer.threshold is None else (answer.threshold + 1) / 2
    needed = f"at least {shown(least, 4)} needed for max FMR {answer.max_fmr:g}"
    measured = "" if answer.threshold_measured else " (extrapolated)"
    together = f"together: probability {_shown_probability(answer.probability)}, {needed}{measured}"
    table.caption = f"{together}\nrequire {answer.require}: {explain(answer)}"
    return table


def explain(answer: FusedVerifyAnswer) -> str:
    """What a joint decision rests on: what failed, or what the sum made up for."""
    failed = [name for name, part in (answer.parts or {}).items() if not part.match]
    if answer.similarity is None or answer.threshold is None:
        return "all that is required passes" if answer.match else "which part failed is told with the scope scores"
    sum_passes = answer.similarity >= answer.threshold
    if answer.require == "sum":
        if not sum_passes:
            return "the sum of both failed"
        return "the sum of both passes" + (f", though {' and '.join(failed)} alone would not" if failed else "")
    floor = f" (each at max FMR {answer.max_fmr_each:g})"
    if not sum_passes:
        failed.append("the sum of both")
    return (f"failed: {', '.join(failed)}" if failed else "each part and the sum of both pass") + floor


def _decision_cells(answer: VerifyAnswer) -> tuple[str, str, str, str]:
    threshold = f"{shown(answer.threshold)}{'' if answer.threshold_measured else ' (extrapolated)'}"
    return shown(answer.similarity), threshold, _shown_probability(answer.probability), str(answer.dim)


def _shown_probability(probability: float | None) -> str:
    """Four decimals, and never a certainty that was not measured.

    >>> _shown_probability(0.99999), _shown_probability(0.25), _shown_probability(None)
    ('over 0.9999', '0.2500', '-')
    """
    if probability is None:
        return "-"
    return "over 0.9999" if probability > LARGEST_SHOWN else f"{probability:.4f}"


def _yes_or_no(match: bool) -> str:
    return "yes" if match else "no"
