"""What became of the attacks: counted, held against what is documented, and shown as a table."""

from collections import Counter
from dataclasses import dataclass, field

from rich.table import Table

from loadtests.client.load import Outcome as Answered
from loadtests.torture.hostile.documented import (
    FLOODS,
    PICTURE_GROWTH_MIB,
    PICTURES,
    STORM_SLOWDOWN,
    THIN_TIME_RATIO,
    UNANSWERED,
    Outcome,
    is_documented,
    memory_bound_mib,
)
from loadtests.torture.hostile.exchange import Case, Exchanged

MOST_EXAMPLES = 8
KINDS = ("as documented", "accepted", "other 4xx", "5xx", "not answered")


@dataclass
class Row:
    """One attack.

    Attributes:
        tried: requests by kind of answer, see KINDS.
        answers: requests by status and code.
        examples: some that were not answered as documented.
        longest_s: until the first answer to a request.
        peak_mib: resident memory of the attacked server at its peak.
        growth_mib: how much it grew at most: by one request of those that come alone, by all together of the others.
        growth_after: the request behind which that was seen.
        honest: requests of the honest ones by status, meanwhile; 0 where no answer came.
        honest_without_retry_after: of those that were refused.
        failures: what the server did that no answer shows.
    """

    attack: str
    tried: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    longest_s: float = 0.0
    peak_mib: float = 0.0
    growth_mib: float = 0.0
    growth_after: str = ""
    honest: dict[int, int] = field(default_factory=dict)
    honest_without_retry_after: int = 0
    failures: list[str] = field(default_factory=list)

    def note(self, case: Case, exchanged: Exchanged) -> None:
        """Count a request: by its first answer that is not documented, where there is one."""
        wrong = [outcome for outcome in exchanged.outcomes if not is_documented(self.attack, outcome)]
        shown = (wrong or list(exchanged.outcomes))[0]
        self.tried[kind_of(shown) if wrong else KINDS[0]] += 1
        self.answers[f"{shown[0]} {shown[1]}".strip()] += 1
        self.longest_s = max(self.longest_s, exchanged.seconds if exchanged.seconds == exchanged.seconds else 0.0)
        if wrong and len(self.examples) < MOST_EXAMPLES:
            self.examples.append(f"{case.name}: {' '.join(map(str, shown)).strip()}")

    def note_memory(self, before_mib: float, peak_mib: float, case: Case) -> None:
        """Take over the memory before, and the peak that is seen behind a request."""
        self.peak_mib = max(self.peak_mib, peak_mib)
        if peak_mib - before_mib > self.growth_mib:
            self.growth_mib, self.growth_after = peak_mib - before_mib, case.name

    def note_honest(self, answered: Answered) -> None:
        """Take over what became of the honest ones."""
        self.honest = dict(sorted(answered.statuses.items()))
        self.honest_without_retry_after = answered.without_retry_after

    def broken(self) -> list[str]:
        """The promises that it broke."""
        broken = [f"{self.attack}: {failure}" for failure in self.failures]
        total, documented = self.tried.total(), self.tried[KINDS[0]]
        if documented < total or not total:
            broken.append(f"{self.attack}: {documented} of {total} answered as documented; {'; '.join(self.examples)}")
        if self.attack in PICTURES and self.growth_mib > PICTURE_GROWTH_MIB:
            broken.append(
                f"{self.attack}: grew by {self.growth_mib:.0f} MiB of {PICTURE_GROWTH_MIB:g}, "
                f"seen after {self.growth_after}"
            )
        if self.peak_mib > memory_bound_mib():
            broken.append(f"{self.attack}: {self.peak_mib:.0f} MiB resident of {memory_bound_mib():g}")
        allowed = {200, 503} if self.attack in FLOODS else {200}
        if not set(self.honest) <= allowed or self.honest_without_retry_after:
            broken.append(
                f"{self.attack}: honest requests were answered {self.honest}, "
                f"{self.honest_without_retry_after} refusals without Retry-After"
            )
        return broken


@dataclass
class Storm:
    """Refusals of wrong keys: how many a second, and how long one takes for a new address and for one that stormed."""

    per_second: float
    fresh_s: float
    stormed_s: float
    refused_outright: bool
    logged_lines: int

    def broken(self) -> list[str]:
        """The promises about repeated wrong keys that were broken."""
        broken = []
        if not self.refused_outright and self.stormed_s < STORM_SLOWDOWN * self.fresh_s:
            broken.append(
                f"storm of wrong keys: its address is answered after {self.stormed_s:.3f} s, others {self.fresh_s:.3f}"
            )
        if not self.logged_lines:
            broken.append("storm of wrong keys: nothing of it is in the log")
        return broken


def kind_of(outcome: Outcome) -> str:
    """The column of an answer that is not documented.

    >>> kind_of((201, "")), kind_of((404, "unknown_path")), kind_of((503, "")), kind_of((0, "closed"))
    ('accepted', 'other 4xx', '5xx', 'not answered')
    """
    status, _ = outcome
    if status == UNANSWERED[0]:
        return KINDS[4]
    return KINDS[1] if status < 400 else KINDS[2] if status < 500 else KINDS[3]


def thin_time_broken(rows: list[Row]) -> list[str]:
    """Whether a thin picture kept the service busy for longer than one of an honest shape and size may."""
    longest = {row.attack: row.longest_s for row in rows}
    honest_s = longest.get("pictures within the limit", 0.0)
    return [
        f"{name}: {seconds:.1f} s, where an honest shape takes {honest_s:.1f}"
        for name, seconds in longest.items()
        if name in ("thin pictures", "giant thin pictures") and seconds > THIN_TIME_RATIO * honest_s
    ]


def as_table(rows: list[Row]) -> Table:
    """The rows for a terminal."""
    table = Table(title="Hostile input")
    table.add_column("attack", no_wrap=True)
    for name in ("tried", *KINDS, "longest s", "peak MiB", "grew by", "honest served"):
        table.add_column(name, justify="right")
    for row in rows:
        counts = [str(row.tried[kind] or "") for kind in KINDS]
        honest = f"{row.honest.get(200, 0)} of {sum(row.honest.values())}"
        memory = (f"{row.longest_s:.1f}", f"{row.peak_mib:.0f}", f"{row.growth_mib:.0f}", honest)
        table.add_row(row.attack, str(row.tried.total()), *counts, *memory, style="red" if row.broken() else None)
    sums = [str(sum(row.tried[kind] for row in rows)) for kind in KINDS]
    answered, asked = (sum(row.honest.get(200, 0) for row in rows), sum(sum(row.honest.values()) for row in rows))
    peak = f"{max((row.peak_mib for row in rows), default=0):.0f}"
    table.add_section()
    total = str(sum(row.tried.total() for row in rows))
    table.add_row("together", total, *sums, "", peak, "", f"{answered} of {asked}")
    return table


def as_json(row: Row) -> dict[str, object]:
    """A row for the report."""
    return {
        "attack": row.attack,
        "tried": row.tried.total(),
        **{kind: row.tried[kind] for kind in KINDS},
        "answers": dict(row.answers.most_common()),
        "examples": row.examples,
        "longest_s": round(row.longest_s, 3),
        "peak_mib": round(row.peak_mib),
        "grew_by_mib": round(row.growth_mib),
        "growth_after": row.growth_after,
        "honest": {str(status): count for status, count in row.honest.items()},
        "failures": row.failures,
    }
