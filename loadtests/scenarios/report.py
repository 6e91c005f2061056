"""What a run found: lines for people, JSON, and a section in locust's HTML report."""

import html
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtests.scenarios.preparation import Service
from loadtests.scenarios.scenario import Scenario
from loadtests.scenarios.verdict import Finding

BODY = "<body>"
TABLE = '<table border="1" cellpadding="4" style="border-collapse: collapse">'


@dataclass(frozen=True)
class Run:
    """One run, and what it found.

    Attributes:
        scenario: that was run.
        service: what the host said of itself.
        host: its address.
        users: callers in a phase of load 1.
        duration_s: of the whole.
        began: local date and time.
        workers: processes that sent; 0: the one that reports.
        machine: of the process that reports, as loadtests.bench.table tells it.
        findings: the bounds.
    """

    scenario: Scenario
    service: Service
    host: str
    users: int
    duration_s: float
    began: str
    workers: int
    machine: dict[str, Any]
    findings: Sequence[Finding]

    @property
    def is_passed(self) -> bool:
        """Whether every bound was kept."""
        return all(finding.is_kept for finding in self.findings)

    def facts(self) -> dict[str, str]:
        """What the figures depend on."""
        phases = [f"{p.name} {p.share * self.duration_s:g} s x {p.load:g}" for p in self.scenario.phases]
        here = self.machine
        return {
            "scenario": f"{self.scenario.name}: {self.scenario.what}",
            "calls": ", ".join(f"{kind.name} {weight}" for kind, weight in self.scenario.mix),
            "load": f"{self.users} callers without pauses; {', '.join(phases)}; {self.workers or 'no'} workers",
            "service": f"{self.host}, version {self.service.version}; {', '.join(self.service.bundles)}",
            "sent by": f"{here['cpu']}, {here['cores']} cores, {here['memory_gib']} GiB, Python {here['python']}",
            "began": self.began,
        }


def write_json(run: Run, path: Path) -> None:
    """For programs."""
    content = {
        "scenario": run.scenario.name,
        "passed": run.is_passed,
        "host": run.host,
        "users": run.users,
        "duration_s": run.duration_s,
        "workers": run.workers,
        "began": run.began,
        "service": asdict(run.service),
        "machine": run.machine,
        "bounds": [finding.as_json() for finding in run.findings],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def as_lines(run: Run) -> list[str]:
    """What was not kept, and whether the run has passed."""
    broken = [
        f"  {finding.phase}: {finding.what}: {_shown(finding.value)}, at most {finding.bound:g}"
        for finding in run.findings
        if not finding.is_kept
    ]
    told = sum(not math.isnan(finding.value) for finding in run.findings)
    verdict = "passed" if run.is_passed else "FAILED"
    return [f"scenario {run.scenario.name}: {verdict}, {told} bounds looked at, {len(broken)} not kept", *broken]


def add_to_html(run: Run, path: Path) -> None:
    """Put the run's facts and bounds above what locust shows."""
    page = path.read_text(encoding="utf-8")
    path.write_text(page.replace(BODY, f"{BODY}\n{_section(run)}", 1), encoding="utf-8")


def _section(run: Run) -> str:
    facts = "".join(
        f"<tr><th align='left'>{name}</th><td>{html.escape(text)}</td></tr>" for name, text in run.facts().items()
    )
    bounds = "".join(
        f"<tr><td>{html.escape(one.phase)}</td><td>{html.escape(one.what)}</td><td>{_shown(one.value)}</td>"
        f"<td>{one.bound:g}</td><td>{'yes' if one.is_kept else '<b>no</b>'}</td></tr>"
        for one in run.findings
    )
    heading = "<tr><th>phase</th><th>what</th><th>found</th><th>at most</th><th>kept</th></tr>"
    return (
        f'<section style="font-family: sans-serif; margin: 1em"><h1>{"Passed" if run.is_passed else "Failed"}</h1>'
        f"{TABLE}{facts}</table><p></p>{TABLE}{heading}{bounds}</table></section>"
    )


def _shown(value: float) -> str:
    """Three digits, or that too few answers came.

    >>> _shown(0.12345), _shown(math.nan)
    ('0.123', 'too few answers')
    """
    return "too few answers" if math.isnan(value) else f"{value:.3g}"
