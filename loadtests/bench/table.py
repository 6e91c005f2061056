"""All rows that were measured, as one table: docs/bench.json, docs/performance.md and the terminal.

    python -m loadtests.bench.table --rows build/bench --docs docs

Groups that were not measured again keep the rows they have in docs/bench.json, as long as the machine is the same.
In docs/performance.md only what stands between `<!-- machine -->` or `<!-- rows: GROUP -->` and `<!-- end -->` is
written; the text around it is kept.
"""

import argparse
import json
import os
import platform
import re
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtests.bench.rows import Row, read_rows, row_from

LIBRARIES = (
    "faiss-cpu",
    "fastapi",
    "litserve",
    "numpy",
    "onnxruntime",
    "pillow",
    "soundfile",
    "soxr",
    "torch",
    "uvicorn",
)
LITSERVE = "build/bench/litserve"  # see serving/contestants.py
BLOCK = re.compile(r"<!-- (machine|rows: [\w.-]+) -->\n.*?<!-- end -->", re.DOTALL)


@dataclass(frozen=True)
class Measured:
    """A row, the group whose script wrote it, and the day."""

    group: str
    date: str
    row: Row


def main() -> None:
    """Collect, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=Path("build/bench"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    here, kept_in = machine(), arguments.docs / "bench.json"
    measured = collect(arguments.rows, kept_in, here)
    if not measured:
        sys.exit(f"no rows in {arguments.rows}; measure with `make bench`")
    content = {"machine": here, "rows": [{**asdict(m.row), "group": m.group, "date": m.date} for m in measured]}
    kept_in.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    page = arguments.docs / "performance.md"
    page.write_text(filled(page.read_text(encoding="utf-8"), measured, here), encoding="utf-8")
    show(measured)


def machine() -> dict[str, Any]:
    """What the numbers depend on, without anything that names a place."""
    info = Path("/proc/cpuinfo")
    models = re.findall(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else []
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "python": platform.python_version(),
        "libraries": _versions(),
    }


def _versions() -> dict[str, str]:
    """Of those that are installed."""
    found = {name: next(iter(distributions(name=name, path=[*sys.path, LITSERVE])), None) for name in LIBRARIES}
    return {name: package.version for name, package in found.items() if package is not None}


def collect(folder: Path, kept_in: Path, here: dict[str, Any]) -> list[Measured]:
    """Every row of a folder of .jsonl files, and those of groups that are only in an earlier bench.json.

    Raises: ValueError: two rows have one id.
    """
    measured = []
    for path in sorted(folder.glob("*.jsonl")):
        date = datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()
        measured += [Measured(path.stem, date, row) for row in read_rows(path)]
    groups = {m.group for m in measured}
    measured += [m for m in _kept(kept_in, here) if m.group not in groups]
    ids = [m.row.id for m in measured]
    twice = sorted({row_id for row_id in ids if ids.count(row_id) > 1})
    if twice:
        raise ValueError(f"two rows have one id: {', '.join(twice)}")
    return sorted(measured, key=lambda m: m.group)


def _kept(path: Path, here: dict[str, Any]) -> list[Measured]:
    if not path.exists():
        return []
    content = json.loads(path.read_text(encoding="utf-8"))
    if any(content["machine"][key] != here[key] for key in ("cpu", "cores")):
        return []  # numbers of two machines do not belong in one table
    return [
        Measured(values.pop("group"), values.pop("date"), row_from(values))
        for values in (dict(row) for row in content["rows"])
    ]


def filled(page: str, measured: list[Measured], here: dict[str, Any]) -> str:
    """The page with every marked block written anew; a group without a block gets one at the end."""
    tables = {group: markdown([m for m in measured if m.group == group]) for group in {m.group for m in measured}}

    def block(found: re.Match[str]) -> str:
        name = found.group(1)
        group = name.removeprefix("rows: ")
        body = _machine_line(here) if name == "machine" else tables.pop(group, "Not measured yet.\n")
        return f"<!-- {name} -->\n{body}<!-- end -->"

    page = BLOCK.sub(block, page)
    for group in sorted(tables):
        page += f"\n## {group}\n\n<!-- rows: {group} -->\n{tables[group]}<!-- end -->\n"
    return page


def markdown(measured: list[Measured]) -> str:
    """One group as a Markdown table with its notes below."""
    lines = ["| what | ours | reference | ratio | spread | target | met |", "|---|---|---|---|---|---|---|"]
    lines += ["| " + " | ".join(_cells(m.row)) + " |" for m in measured]
    notes = list(dict.fromkeys(m.row.note for m in measured if m.row.note))
    dates = sorted({m.date for m in measured})
    closing = [f"- {note}" for note in notes] + [f"- Measured {' and '.join(dates)}."]
    return "\n".join([*lines, "", *closing]) + "\n"


def _cells(row: Row) -> list[str]:
    return [
        row.what,
        f"{_short(row.ours)} {row.unit}",
        "" if row.reference is None else f"{_short(row.reference)} {row.unit}",
        "" if row.ratio is None else f"**{_short(row.ratio)}**",
        f"{_short(row.spread[0])} to {_short(row.spread[1])}",
        row.target or "",
        "" if row.met is None else ("yes" if row.met else "**no**"),
    ]


def _short(value: float) -> str:
    """Three significant digits, and whole numbers beyond.

    >>> _short(1234.5), _short(0.01234), _short(2.0)
    ('1,234', '0.0123', '2.00')
    """
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.2e}"


def _machine_line(here: dict[str, Any]) -> str:
    libraries = ", ".join(f"{name} {number}" for name, number in here["libraries"].items())
    machine_text = f"{here['cpu']}, {here['cores']} cores, {here['memory_gib']} GiB of memory"
    return f"{machine_text}, Python {here['python']}; {libraries}.\n"


def show(measured: list[Measured]) -> None:
    """Print the table for people."""
    table = Table("id", "ours", "reference", "ratio", "spread", "target", "met", title="make bench")
    for m in measured:
        cells = [cell.replace("**", "") for cell in _cells(m.row)]
        style = {True: "green", False: "red", None: ""}[m.row.met]
        table.add_row(m.row.id, *cells[1:], style=style)
    Console(width=160 if not sys.stdout.isatty() else None).print(table)


if __name__ == "__main__":
    main()
