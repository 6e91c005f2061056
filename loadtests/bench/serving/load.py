"""A load under measurement: what was answered within some seconds, and the CPU time that everybody took meanwhile."""

import asyncio
import os
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadtests.client import load as client
from loadtests.client.load import Attempt, Call, Connections, Outcome

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
DISTURBED_CORES = 0.1
MOST_TRIES = 3


@dataclass(frozen=True)
class Load:
    """What happened within the measured seconds.

    Attributes:
        latencies_s: of calls answered as expected, in the order of the answers.
        rows: rows of the graph of each of them.
        failures: status of every other answer -> how often; 0 for one that did not come.
        seconds: measured.
        client_cpu_s: CPU time that this process used.
        server_cpu_s: CPU time that the server used.
        other_cpu_s: CPU time of everything else on this machine; above a few percent a load is not to be believed.
    """

    latencies_s: list[float]
    rows: list[int]
    failures: dict[int, int]
    seconds: float
    client_cpu_s: float
    server_cpu_s: float
    other_cpu_s: float

    @property
    def other_cores(self) -> float:
        """Cores that something else on this machine kept busy."""
        return self.other_cpu_s / self.seconds

    @property
    def is_disturbed(self) -> bool:
        """Whether that spoils the measurement."""
        return self.other_cores > DISTURBED_CORES

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies_s) / self.seconds

    @property
    def server_cpu_each_s(self) -> float:
        """Server CPU seconds of one answer."""
        return self.server_cpu_s / max(1, len(self.latencies_s))

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the latencies in milliseconds."""
        return float(np.percentile(self.latencies_s, percent)) * 1e3


def undisturbed(measure: Callable[[], Load]) -> Load:
    """Repeat a load that something else on this machine spoiled; the least spoiled of several tries."""
    tries: list[Load] = []
    while not tries or (tries[-1].is_disturbed and len(tries) < MOST_TRIES):
        tries.append(measure())
    return min(tries, key=lambda load: load.other_cpu_s)


def call_once(port: int, call: Call) -> int:
    """Send one call and wait for its answer; returns its status, 0 where none came."""

    async def exchange() -> int:
        connections = Connections(port)
        attempt = await connections.attempt(call)
        connections.close()
        return attempt.status

    return asyncio.run(exchange())


def closed_loop(
    port: int,
    calls: Sequence[Call],
    clients: int,
    warm_s: float,
    seconds: float,
    cpu_s: Callable[[], float],
    expected: int = 200,
) -> Load:
    """Clients that each send the next call as soon as they have the answer to the one before.

    Args:
        port: of a server on this machine.
        calls: sent in turn, in a shuffled order that all clients share.
        clients: connections.
        warm_s: seconds before the measurement.
        seconds: of measurement; what is answered in them counts.
        cpu_s: CPU seconds that the server has used so far.
        expected: status of a good answer.
    """
    order = random.Random(0).sample(calls, len(calls))
    loop = client.closed_loop(port, order, clients, warm_s + seconds)
    outcome, window = asyncio.run(_measured(loop, warm_s, seconds, cpu_s))
    counted = [attempt for attempt in outcome.attempts if window.begin <= attempt.done < window.end]
    return _load_of(counted, [attempt.latency_s for attempt in counted], window, expected)


def open_loop(
    port: int, calls: Sequence[Call], rate: float, warm_s: float, seconds: float, cpu_s: Callable[[], float]
) -> Load:
    """Callers who do not wait for each other: Poisson arrivals; latency counts from the moment a call was due.

    Args:
        port: of a server on this machine.
        calls: drawn at random.
        rate: mean arrivals a second.
        warm_s: seconds before the measurement.
        seconds: of measurement; what is due in them counts, whenever its answer comes.
        cpu_s: CPU seconds that the server has used so far.
    """
    generator = np.random.default_rng(0)
    due = np.cumsum(generator.exponential(1 / rate, int((warm_s + seconds) * rate * 2) + 10))
    due = due[due < warm_s + seconds]
    chosen = [calls[number] for number in generator.integers(0, len(calls), len(due))]
    outcome, window = asyncio.run(_measured(client.open_loop(port, chosen, due.tolist()), warm_s, seconds, cpu_s))
    counted = [attempt for attempt in outcome.attempts if window.begin <= attempt.due < window.end]
    load = _load_of(counted, [attempt.done - attempt.due for attempt in counted], window, 200)
    if outcome.unsent:
        load.failures[0] = load.failures.get(0, 0) + outcome.unsent
    return load


@dataclass(frozen=True)
class _Window:
    """When it was measured, in time.perf_counter(), and the CPU seconds used from then till then."""

    begin: float
    end: float
    client_cpu_s: float
    server_cpu_s: float
    machine_cpu_s: float


async def _measured(
    loop: Coroutine[Any, Any, Outcome], warm_s: float, seconds: float, cpu_s: Callable[[], float]
) -> tuple[Outcome, _Window]:
    running = asyncio.ensure_future(loop)
    await asyncio.sleep(warm_s)
    machine, server, own, begin = _machine_cpu_s(), cpu_s(), _own_cpu_s(), time.perf_counter()
    await asyncio.sleep(seconds)
    server, own, end = cpu_s() - server, _own_cpu_s() - own, time.perf_counter()
    window = _Window(begin, end, own, server, _machine_cpu_s() - machine)
    return await running, window


def _load_of(counted: list[Attempt], latencies_s: list[float], window: _Window, expected: int) -> Load:
    good = [attempt.status == expected for attempt in counted]
    return Load(
        latencies_s=[seconds for seconds, is_good in zip(latencies_s, good, strict=True) if is_good],
        rows=[attempt.call.rows for attempt, is_good in zip(counted, good, strict=True) if is_good],
        failures=dict(Counter(attempt.status for attempt in counted if attempt.status != expected)),
        seconds=window.end - window.begin,
        client_cpu_s=window.client_cpu_s,
        server_cpu_s=window.server_cpu_s,
        other_cpu_s=max(0.0, window.machine_cpu_s - window.server_cpu_s - window.client_cpu_s),
    )


def _own_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _machine_cpu_s() -> float:
    """CPU seconds of all processes, and those that another machine on the same hardware took."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    busy = sum(int(fields[1 + place]) for place in (0, 1, 2, 5, 6, 7))  # all but idle and waiting for a disk
    return busy / CLOCK_TICKS
