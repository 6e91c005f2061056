"""Servers that are measured in turn: their best settings searched first, then everybody's loads."""

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.bench.serving.comparison.placement import Placement, on_cores
from loadtests.bench.serving.contestants import Contestant, started
from loadtests.bench.serving.inputs import Workload
from loadtests.bench.serving.load import Load, closed_loop, undisturbed
from loadtests.bench.serving.raw_graph import Cost
from loadtests.client.load import Call
from loadtests.server import ServerProcess

MANY = 32
OURS = "matchka"
OTHERS = ("plain", "litserve")
WARM_S = 0.7
SEARCH_S = 1.5
TRIES = 2
DECODING = ("decode", "prepare")

Who = tuple[str, str]  # a contestant's name, and its graph


@dataclass(frozen=True)
class Best:
    """Settings of one contestant. Attributes: many: with most throughput for MANY clients. one: soonest for one."""

    many: Contestant
    one: Contestant


@dataclass(frozen=True)
class StageCpu:
    """CPU seconds of one sample in ours. Attributes: decode: decoding and preparing. run: its share of the runs."""

    decode: float
    run: float


@dataclass
class Turn:
    """One turn of everybody.

    Attributes:
        plain_decode_cpu_s: decoding and preparing a sample without checks, in a loop of its own.
        raw: graph -> a row's cost by itself.
        many: its load with MANY clients.
        one: its load with one client.
        stages: graph -> what ours took with MANY clients.
    """

    plain_decode_cpu_s: float
    raw: dict[str, Cost] = field(default_factory=dict)
    many: dict[Who, Load] = field(default_factory=dict)
    one: dict[Who, Load] = field(default_factory=dict)
    stages: dict[str, StageCpu] = field(default_factory=dict)


class Track:
    """Where servers are measured, one while the others stand still.

    Args:
        workload: what they are asked.
        models: folder of bundles.
        folder: for their data and logs.
        placement: of servers and client.
    """

    def __init__(self, workload: Workload, models: Path, folder: Path, placement: Placement) -> None:
        self.workload = workload
        self.placement = placement
        self._models = models
        self._folders = (folder / str(number) for number in itertools.count())
        self._calls = {flag: workload.calls(own_fields=flag) for flag in (True, False)}

    def calls(self, contestant: Contestant) -> list[Call]:
        """The workload in the form that a contestant takes."""
        return self._calls[contestant.takes_own_fields]

    @contextmanager
    def started(self, contestants: Sequence[Contestant]) -> Iterator[dict[Contestant, ServerProcess]]:
        """Servers, ready and paused, until the end of the block."""
        with ExitStack() as stack:
            servers = {}
            with on_cores(self.placement.servers):
                for one in dict.fromkeys(contestants):
                    server = started(one, self._models, next(self._folders), self.calls(one)[0])
                    servers[one] = stack.enter_context(server)
            yield servers

    def load(self, contestant: Contestant, server: ServerProcess, clients: int, seconds: float) -> Load:
        """Load one server while the others stand still."""
        calls = self.calls(contestant)
        with server.running(), on_cores(self.placement.client):
            load = undisturbed(lambda: closed_loop(server.port, calls, clients, WARM_S, seconds, server.cpu_s))
        if load.failures or not load.latencies_s:
            sys.exit(f"{contestant.name} ({contestant.settings}) failed: {load.failures}")
        return load

    def best(self, contestants: Sequence[Contestant], advance: Callable[[], None]) -> Best:
        """Which of them suit many clients and one, each by the better of some tries; none of them runs afterwards."""
        rates: dict[Contestant, list[float]] = {one: [] for one in contestants}
        waits_ms: dict[Contestant, list[float]] = {one: [] for one in contestants}
        with self.started(contestants) as servers:
            for _ in range(TRIES):
                for one, server in servers.items():
                    rates[one].append(self.load(one, server, MANY, SEARCH_S).rate)
                    waits_ms[one].append(self.load(one, server, 1, SEARCH_S / 2).percentile_ms(50))
                    advance()
        return Best(max(rates, key=lambda one: max(rates[one])), min(waits_ms, key=lambda one: min(waits_ms[one])))

    def take_turn(
        self, best: dict[Who, Best], servers: dict[Contestant, ServerProcess], seconds: float, turn: Turn
    ) -> None:
        """Load everybody once."""
        for (name, graph), settings in best.items():
            who, server = (name, graph), servers[settings.many]
            before = metrics(server) if name == OURS else {}
            turn.many[who] = self.load(settings.many, server, MANY, seconds)
            if name == OURS:
                after, model = metrics(server), self.workload.model
                spent = (stage_cpu_s(before, after, model, stages) for stages in (DECODING, ("run",)))
                turn.stages[graph] = StageCpu(*spent)
            turn.one[who] = self.load(settings.one, servers[settings.one], 1, seconds / 2)


def metrics(server: ServerProcess) -> dict[str, float]:
    """What a paused server tells Prometheus."""
    with server.running():
        return server.metrics()


def stage_cpu_s(before: dict[str, float], after: dict[str, float], model: str, stages: tuple[str, ...]) -> float:
    """CPU seconds of some stages for each sample that was decoded between two readings of the metrics."""

    def grown(name: str, stage: str) -> float:
        labelled = f'{name}{{model="{model}",stage="{stage}"}}'
        return after[labelled] - before[labelled]

    spent = sum(grown("matchka_stage_cpu_seconds_total", stage) for stage in stages)
    return spent / grown("matchka_stage_seconds_count", "decode")
