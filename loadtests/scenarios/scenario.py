"""What a scenario is: a mix of calls, the phases of a run, and the bounds that each phase has to keep."""

from dataclasses import dataclass
from itertools import accumulate

from loadtests.scenarios.calls import CallKind


@dataclass(frozen=True)
class Bounds:
    """What a phase has to keep. Ratios are free of the machine's speed, milliseconds are not, so none is the default.

    Callers without pauses who find the service busy wait in proportion to their number (Little's law), so ratios are of
    the p50 that the same call had in the first phase, times Phase.load.

    Attributes:
        failures: highest share of requests that fail: no answer, or an unexpected status; 429 and 503 without
            Retry-After are among them.
        rejected: highest share answered 429 or 503 with Retry-After.
        p50_ratio: highest p50 of a call, as a ratio; likewise p95_ratio and p99_ratio.
        p95_ms: highest p95 of a call in milliseconds; None for any; likewise p99_ms.
    """

    failures: float = 0.001
    rejected: float = 0.01
    p50_ratio: float | None = None
    p95_ratio: float | None = 10.0
    p99_ratio: float | None = 20.0
    p95_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True)
class Phase:
    """A part of a run.

    Attributes:
        name: in the statistics.
        share: of the run's duration.
        load: callers, as a factor of those that were asked for.
        bounds: what has to hold.
    """

    name: str
    share: float = 1.0
    load: float = 1.0
    bounds: Bounds = Bounds()


@dataclass(frozen=True)
class Scenario:
    """One row of the table of scenarios.

    Attributes:
        name: by which it is asked for.
        what: for people.
        mix: calls and their weights.
        phases: one after the other; the first is what others are compared with.
        tenants: among which callers are divided, each with a key of its own; 0: one key, or none.
        gallery: subjects that are enrolled before, beside those that are verified.
    """

    name: str
    what: str
    mix: tuple[tuple[CallKind, int], ...]
    phases: tuple[Phase, ...] = (Phase("steady"),)
    tenants: int = 0
    gallery: int = 0

    @property
    def models(self) -> frozenset[str]:
        """Bundles that have to be served."""
        return frozenset(model for kind, _ in self.mix for model in kind.models)

    def next_phase(self, current: Phase | None, elapsed_s: float, duration_s: float) -> Phase | None:
        """The phase of a moment; the one behind the current one where its time has passed while callers were started.

        Args:
            current: phase; None before the first.
            elapsed_s: since the start of the run.
            duration_s: of the whole run.

        Returns: a phase; None when the run is over.
        """
        ends = [share * duration_s for share in accumulate(phase.share for phase in self.phases)]
        due = sum(end <= elapsed_s for end in ends)
        reachable = 0 if current is None else self.phases.index(current) + 1
        place = min(due, reachable)
        return self.phases[place] if place < len(self.phases) else None
