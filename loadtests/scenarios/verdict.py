"""Whether a run kept the bounds of its scenario."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from loadtests.scenarios.scenario import Phase, Scenario

FEWEST: Final = 20  # answers of a call in a phase, below which its percentiles say nothing
PERCENTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
# fields of Bounds: a percentile, and what it is divided by
BOUNDED: Final = {
    "p50_ratio": ("p50", "p50"),
    "p95_ratio": ("p95", "p50"),
    "p99_ratio": ("p99", "p50"),
    "p95_ms": ("p95", "ms"),
    "p99_ms": ("p99", "ms"),
}
UNITS: Final = {"p50": "over p50 of the first phase", "ms": "in ms"}
SHORTEST_MS: Final = 1.0  # statistics have whole milliseconds
SEPARATOR: Final = " / "
REJECTED: Final = "rejected"


@dataclass(frozen=True)
class Row:
    """A line of the statistics: a call in a phase; those that were rejected have a line of their own."""

    phase: str
    call: str
    is_rejected: bool = False

    @property
    def name(self) -> str:
        """As statistics have it.

        >>> Row("spike", "verify voice", True).name
        'spike / verify voice / rejected'
        """
        return SEPARATOR.join((self.phase, self.call, *((REJECTED,) if self.is_rejected else ())))

    @staticmethod
    def named(name: str) -> "Row":
        """The line of a name.

        >>> Row.named("spike / verify voice / rejected")
        Row(phase='spike', call='verify voice', is_rejected=True)
        """
        phase, call, *rejected = name.split(SEPARATOR)
        return Row(phase, call, bool(rejected))


@dataclass(frozen=True)
class Counted:
    """A line's numbers: requests, those of them that failed, and milliseconds by the names of PERCENTILES."""

    requests: int
    failures: int
    ms: Mapping[str, float]


@dataclass(frozen=True)
class Finding:
    """A bound and what was found.

    Attributes:
        phase: of the run.
        what: quantity, and the call where it is of one.
        value: found; not a number where too few answers came to say.
        bound: the highest that is allowed.
    """

    phase: str
    what: str
    value: float
    bound: float

    @property
    def is_kept(self) -> bool:
        """Whether the bound was kept, or nothing can be said."""
        return not self.value > self.bound

    def as_json(self) -> dict[str, object]:
        """With null where nothing can be said."""
        return asdict(self) | {"value": None if math.isnan(self.value) else self.value, "kept": self.is_kept}


def judge(scenario: Scenario, counted: Mapping[Row, Counted]) -> list[Finding]:
    """Every bound of every phase.

    Args:
        scenario: that was run.
        counted: the lines of the statistics.

    Returns: what was found, the run's phases in order; of each phase shares first, then percentiles by call. A run in
        which nothing was answered breaks a bound of its own.
    """
    answered = sum(one.requests - one.failures for row, one in counted.items() if not row.is_rejected)
    found = [Finding("all", "runs without a single answer", float(answered == 0), 0.0)]
    for phase in scenario.phases:
        lines = {row: one for row, one in counted.items() if row.phase == phase.name}
        found += _shares(phase, lines)
        for row, one in lines.items():
            if not row.is_rejected:
                base = counted.get(Row(scenario.phases[0].name, row.call))
                found += _percentiles(phase, row.call, one, base)
    return found


def _shares(phase: Phase, lines: Mapping[Row, Counted]) -> list[Finding]:
    requests = sum(one.requests for one in lines.values())
    failures = sum(one.failures for one in lines.values())
    rejected = sum(one.requests for row, one in lines.items() if row.is_rejected)
    return [
        Finding(phase.name, "share of failures", _ratio(failures, requests), phase.bounds.failures),
        Finding(phase.name, "share of rejections", _ratio(rejected, requests), phase.bounds.rejected),
    ]


def _percentiles(phase: Phase, call: str, one: Counted, base: Counted | None) -> list[Finding]:
    is_enough = base is not None and min(one.requests - one.failures, base.requests - base.failures) >= FEWEST
    bases_ms = {"p50": base.ms["p50"] * phase.load if base is not None and is_enough else math.nan, "ms": 1.0}
    found = []
    for field, (percentile, of) in BOUNDED.items():
        bound = getattr(phase.bounds, field)
        if bound is not None:
            value = one.ms[percentile] / max(bases_ms[of], SHORTEST_MS) if is_enough else math.nan
            found.append(Finding(phase.name, f"{call}: {percentile} {UNITS[of]}", value, bound))
    return found


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
