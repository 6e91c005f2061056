"""What a part has measured or left out, line by line as it comes: a part that is cut short keeps what it had."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from loadtests.bench.rows import Row, row_from
from loadtests.bench.table import Measured, machine, markdown


@dataclass(frozen=True)
class Skipped:
    """What was not measured. Attributes: why: for people."""

    id: str
    why: str


Result = Row | Skipped


def begin(path: Path) -> None:
    """Empty the file of a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("", encoding="utf-8")


def forget(path: Path, result_id: str) -> None:
    """Take a line out of the file of a part, and leave the others."""
    if path.exists():
        kept = [json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in read(path) if one.id != result_id]
        path.write_text("".join(kept), encoding="utf-8")


def append(path: Path, result: Result) -> None:
    """Add a line to the file of a part; one that was cut in the middle is ended first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held = path.read_bytes() if path.exists() else b""
    is_cut = bool(held) and not held.endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" * is_cut + json.dumps(asdict(result), ensure_ascii=False) + "\n")


def read(path: Path) -> Iterator[Result]:
    """The lines of a part: the last of each id, without one that was cut in the middle.

    Raises: ValueError: one is neither measured nor skipped.
    """
    found: dict[str, Result] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            values = json.loads(line)
        except json.JSONDecodeError:  # its process was killed while it wrote
            continue
        found[values["id"]] = Skipped(**values) if "why" in values else row_from(values)
    yield from found.values()


def write_report(folder: Path) -> str:
    """All parts of a folder as gpu.json and gpu.md. Returns: the page."""
    parts = {path.stem: list(read(path)) for path in sorted(folder.glob("*.jsonl"))}
    here = machine()
    rows = [{"part": part, **asdict(result)} for part, results in parts.items() for result in results]
    (folder / "gpu.json").write_text(
        json.dumps({"machine": here, "results": rows}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    lines = [f"{here['cpu']}, {here['cores']} cores, {here['memory_gib']} GiB of memory, Python {here['python']}.\n"]
    for part, results in parts.items():
        date = datetime.fromtimestamp((folder / f"{part}.jsonl").stat().st_mtime, UTC).date().isoformat()
        measured = [Measured(part, date, result) for result in results if isinstance(result, Row)]
        skipped = [f"- not measured: `{result.id}`: {result.why}" for result in results if isinstance(result, Skipped)]
        lines += [f"## {part}\n", markdown(measured) if measured else "", *skipped, ""]
    page = "\n".join(lines)
    (folder / "gpu.md").write_text(page, encoding="utf-8")
    return page
