"""What was measured, kept in docs/capacity.json: a later run replaces its own figures and no others."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

UNDISTURBED_CORES = 0.1  # that others may take while a rate is measured


@dataclass(frozen=True)
class Figure:
    """One load on a service that may use some of the machine's cores.

    Attributes:
        what: the calls, for people.
        cores: that the service may use.
        processes: of the service.
        graph: MATCHKA_GRAPH: `float`, or `auto`, 8-bit where the bundle has it.
        cpu_ms: CPU time of the service for one request.
        rate: requests a second; None where other work took more than UNDISTURBED_CORES.
        p50_ms: of the callers; None likewise.
        callers: at once, without pauses.
        machine: CPU, its cores and memory.
        date: of the measurement.
    """

    what: str
    cores: int
    processes: int
    graph: str
    cpu_ms: float
    rate: float | None
    p50_ms: float | None
    callers: int
    machine: str
    date: str

    @property
    def key(self) -> tuple[str, int, int, str]:
        """Of two figures with one key the later one holds."""
        return self.what, self.cores, self.processes, self.graph


@dataclass(frozen=True)
class Figures:
    """All of them, and the bytes that a subject with one template takes in the database; None before it was seen."""

    figures: tuple[Figure, ...] = ()
    record_bytes: float | None = None


def merged(before: Figures, measured: Iterable[Figure], record_bytes: float | None = None) -> Figures:
    """Later figures in place of earlier ones of the same key, in the order of their keys."""
    by_key = {figure.key: figure for figure in (*before.figures, *measured)}
    ordered = tuple(by_key[key] for key in sorted(by_key))
    return Figures(ordered, before.record_bytes if record_bytes is None else record_bytes)


def read_figures(path: Path) -> Figures:
    """Those of a file; none where there is no file."""
    if not path.is_file():
        return Figures()
    content = json.loads(path.read_text(encoding="utf-8"))
    return Figures(tuple(Figure(**values) for values in content["figures"]), content["record_bytes"])


def write_figures(path: Path, figures: Figures) -> None:
    """Replace the file."""
    path.write_text(json.dumps(asdict(figures), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
