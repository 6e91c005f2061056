"""The tables of docs/capacity.md: what stands between `<!-- NAME -->` and `<!-- end -->` is written anew."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.capacity.cost import Cost, Demand, Unit, cost
from loadtests.capacity.figures import Figure, Figures

BLOCK = re.compile(r"<!-- (measured|sizes|cost) -->\n.*?<!-- end -->", re.DOTALL)
VECTOR_BYTES = 4 * 256  # of the default voice bundle
NOBODY_MIB = re.compile(r"less (\d+) MiB with nobody")  # in the note of the row that measured it
MEMORY, START, EMPTY = "memory.subject/1000000", "start.store/1000000", "start.empty"
OF_A_DECISION = ("one-request/phrase/store", "one-request/phrase/decide")  # ms that a verification takes beside embed
OF_PAGE, PAGE = "serving/phrase/cpu/all", "[performance.md](performance.md)"  # measured on its machine, with two cores
PROTECTED = "protected/phrase/vault-keys-and-audit-log/cpu"
DEMAND = Demand()
PHRASES = "embed, phrases of 1 to 4 s"


@dataclass(frozen=True)
class Bench:
    """Rows of docs/bench.json by their ids."""

    rows: dict[str, dict[str, Any]]

    def value(self, row: str) -> float:
        """A row's median."""
        return float(self.rows[row]["ours"])

    def unit(self, embed_ms: float, record_bytes: float) -> Unit:
        """What a verification and a template take where a request to embed takes so much CPU time."""
        decision_ms = sum(self.value(row) for row in OF_A_DECISION)
        protection = float(self.rows[PROTECTED]["ratio"])
        found = NOBODY_MIB.search(self.rows[MEMORY]["note"])
        if found is None:
            raise ValueError(f"the row {MEMORY} of docs/bench.json does not say what a process with nobody takes")
        cpu_ms = (embed_ms + decision_ms) * protection
        return Unit(cpu_ms, self.value(MEMORY) * VECTOR_BYTES, record_bytes, float(found.group(1)))


def read_bench(path: Path) -> Bench:
    """Those that `make bench` wrote."""
    return Bench({row["id"]: row for row in json.loads(path.read_text(encoding="utf-8"))["rows"]})


def filled(page: str, figures: Figures, bench: Bench) -> str:
    """The page with its tables written anew."""
    tables = {
        "measured": measured_table(figures.figures),
        "sizes": sizes_table(figures, bench),
        "cost": cost_table(figures, bench),
    }
    return BLOCK.sub(lambda found: f"<!-- {found.group(1)} -->\n{tables[found.group(1)]}<!-- end -->", page)


def measured_table(figures: Sequence[Figure]) -> str:
    """Every figure, and the machines and days below."""
    rows = [
        [
            one.what,
            str(one.cores),
            str(one.processes),
            one.graph,
            _optional(one.rate),
            _optional(None if one.rate is None else one.rate / one.cores),
            f"{one.cpu_ms:.1f}",
            _optional(one.p50_ms),
        ]
        for one in figures
    ]
    head = ["calls", "cores", "processes", "graph", "requests/s", "a core", "CPU ms a request", "p50 ms"]
    origins = sorted({f"{one.machine}, {one.date}, {one.callers} callers without pauses" for one in figures})
    return _table(head, rows) + "\n" + "".join(f"- {origin}\n" for origin in origins)


def sizes_table(figures: Figures, bench: Bench) -> str:
    """What is held, and how long a start takes."""
    resident = bench.value(MEMORY) * VECTOR_BYTES
    rows = [
        ["a template of 256 components in a gallery, in memory of each process", f"{resident:,.0f} bytes"],
        ["a subject with one template in SQLite, its indexes with it", _bytes(figures.record_bytes)],
        ["start with a million subjects", f"{bench.value(START):.1f} s"],
        ["start with nobody", f"{bench.value(EMPTY):.1f} s"],
    ]
    return _table(["what", "takes"], rows)


def cost_table(figures: Figures, bench: Bench) -> str:
    """Of verifications of voices, by figures of processes that had as many cores as those of the demand."""
    if figures.record_bytes is None:
        return "Not measured yet.\n"
    embeds = {f"float, cores of {PAGE}": bench.value(OF_PAGE)}
    of_replicas = [one for one in figures.figures if one.cores == one.processes * DEMAND.replica_cores]
    for one in sorted(of_replicas, key=lambda one: one.cores):
        if one.what == PHRASES:
            embeds[one.graph] = one.cpu_ms  # that with the most cores stays
    units = {name: bench.unit(cpu_ms, figures.record_bytes) for name, cpu_ms in embeds.items()}
    rows = [_cost_row(name, unit, cost(DEMAND, unit)) for name, unit in units.items()]
    head = [
        *("graph", "CPU ms a verification", "busy cores", f"cores at {DEMAND.utilisation:.0%}", "groups of tenants"),
        *("templates of a group", "GiB of a replica", "GiB of all replicas", "GiB of databases"),
    ]
    return _table(head, rows)


def _cost_row(name: str, unit: Unit, needed: Cost) -> list[str]:
    return [
        name,
        f"{unit.cpu_ms:.1f}",
        f"{needed.busy_cores:,.0f}",
        f"{needed.cores:,}",
        f"{needed.groups:,}",
        f"{needed.templates_of_group:,.0f}",
        f"{needed.replica_gib:.1f}",
        f"{needed.memory_gib:,.0f}",
        f"{needed.database_gib:,.0f}",
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def _optional(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _bytes(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,.0f} bytes"
