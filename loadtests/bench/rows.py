"""One measured line of the bench, and the files that each group of measurements leaves for the table.

Each script of loadtests/bench writes its rows to `--output build/bench/<group>.jsonl`, one JSON object a line;
loadtests.bench.table collects them all.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Row:
    """One comparison: ours beside a reference, measured in turns within one run.

    Attributes:
        id: stable name, unique over all groups; parts joined by `/`, for example `serving/voice/32/cpu`.
        what: what was measured, for people.
        ours: median over the repeats, in `unit`.
        reference: the same of what it is compared with; None where it stands alone.
        ratio: median of the ratios of paired repeats; None without a reference.
        unit: of ours and reference, for example `ms` or `requests/s`.
        spread: lowest and highest of the repeats: of the ratio where there is one, otherwise of `ours`.
        target: the ratio or value that is aimed at, as people write it (`>= 1.25`); None where there is none.
        met: whether it is reached; None without a target.
        note: what the reference is and how it was set, what bounds a target that is not met.
    """

    id: str
    what: str
    ours: float
    reference: float | None
    ratio: float | None
    unit: str
    spread: tuple[float, float]
    target: str | None
    met: bool | None
    note: str


def compared(
    row_id: str, what: str, ours: Sequence[float], reference: Sequence[float], unit: str, note: str, target: str = ""
) -> Row:
    """A row of paired repeats: medians of both, median and spread of `ours / reference`.

    Args:
        row_id: see Row.id.
        what: see Row.what.
        ours: a value of each repeat.
        reference: the value that was measured beside it in the same repeat.
        unit: of both.
        note: see Row.note.
        target: `>= 1.25` or `<= 3`, of the ratio.

    >>> row = compared("a/b", "", [2.0, 6.0, 4.0], [1.0, 2.0, 2.0], "ms", "", "<= 2")
    >>> row.ours, row.reference, row.ratio, row.spread, row.met
    (4.0, 2.0, 2.0, (2.0, 3.0), True)
    """
    ratios = [a / b for a, b in zip(ours, reference, strict=True)]
    ratio = median(ratios)
    spread = (min(ratios), max(ratios))
    met = is_met(ratio, target) if target else None
    return Row(row_id, what, median(ours), median(reference), ratio, unit, spread, target or None, met, note)


def alone(row_id: str, what: str, values: Sequence[float], unit: str, note: str, target: str = "") -> Row:
    """A row without a reference: median and spread of the values; the target is of the median.

    >>> alone("a/b", "", [3.0, 1.0, 2.0], "s", "").spread
    (1.0, 3.0)
    """
    middle = median(values)
    met = is_met(middle, target) if target else None
    return Row(row_id, what, middle, None, None, unit, (min(values), max(values)), target or None, met, note)


def disturbance(base: str, cores: Sequence[float]) -> Row:
    """How far the machine was not its own: cores that other processes kept busy during each load of a group."""
    what, note = "cores that other processes took meanwhile", "above 0.1 cores the figures of this group are too slow"
    return alone(f"{base}/others", what, cores, "cores", note, "<= 0.1")


def is_met(value: float, target: str) -> bool:
    """Whether a value reaches `>= bound` or `<= bound`.

    Raises: ValueError: the target is neither.

    >>> is_met(1.3, ">= 1.25"), is_met(3.5, "<= 3")
    (True, False)
    """
    relation, bound = target.split(maxsplit=1)
    if relation == ">=":
        return value >= float(bound)
    if relation == "<=":
        return value <= float(bound)
    raise ValueError(f"a target is written `>= bound` or `<= bound`, not {target!r}")


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a group's rows; the file is replaced whole, so that an interrupted run leaves the last complete one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text("".join(_line(row) for row in rows), encoding="utf-8")
    part.replace(path)


def append_rows(path: Path, rows: Iterable[Row]) -> None:
    """Add rows to a group that is measured piece by piece; begin it with write_rows(path, [])."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(_line(row) for row in rows)


def read_rows(path: Path) -> list[Row]:
    """The rows of one file.

    Raises: ValueError: a line that is no row.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    return [row_from(json.loads(line)) for line in lines if line.strip()]


def row_from(values: dict[str, Any]) -> Row:
    """A row from its JSON object.

    Raises: ValueError: a field is missing, or there is one too many.
    """
    try:
        return Row(**{**values, "spread": (values["spread"][0], values["spread"][1])})
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a row of the bench: {values}") from error


def _line(row: Row) -> str:
    return json.dumps(asdict(row), ensure_ascii=False) + "\n"
