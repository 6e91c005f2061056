"""A client that costs little: one process, raw sockets, requests built beforehand.

It shares the cores with the server it measures, so its own CPU time is measured and reported too.
"""

import asyncio
import os
import random
import resource
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

HEAD_END = b"\r\n\r\n"
STATUS = slice(9, 12)  # of `HTTP/1.1 200 OK`
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
DISTURBED_CORES = 0.1
MOST_TRIES = 3
DRAIN_S = 60.0  # answers that are still out when a load ends are awaited so long


@dataclass(frozen=True)
class Call:
    """A whole HTTP request as bytes, and how many rows of the graph its sample becomes."""

    request: bytes
    rows: int


@dataclass(frozen=True)
class Load:
    """What happened within the measured seconds.

    Attributes:
        latencies_s: of calls answered as expected, in the order of the answers.
        rows: rows of the graph of each of them.
        failures: status of every other answer -> how often; 0 for a connection that broke.
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


@dataclass
class _Record:
    """Collects answers while `measuring`; those of another status than `expected` are failures."""

    expected: int = 200
    latencies_s: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    failures: Counter[int] = field(default_factory=Counter)
    measuring: bool = False

    def note(self, call: Call, latency_s: float, status: int) -> None:
        if not self.measuring:
            return
        if status == self.expected:
            self.latencies_s.append(latency_s)
            self.rows.append(call.rows)
        else:
            self.failures[status] += 1


class _Connection(asyncio.Protocol):
    """One kept-alive connection with at most one request under way."""

    def __init__(self, on_answer: "Callable[[_Connection, int], None]") -> None:
        self._on_answer = on_answer
        self._buffer = b""
        self._missing: int | None = None  # bytes of the answer that have not come yet; None before its head
        self.transport: Any = None
        self.call: Call | None = None
        self.since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def send(self, call: Call, since: float) -> None:
        self.call, self.since = call, since
        self.transport.write(call.request)

    def data_received(self, data: bytes) -> None:
        if self._missing is None:
            self._buffer += data
            end = self._buffer.find(HEAD_END)
            if end < 0:
                return
            length = self._buffer.lower().index(b"content-length:") + 15
            announced = int(self._buffer[length : self._buffer.index(b"\r\n", length)])
            self._missing = announced - (len(self._buffer) - end - len(HEAD_END))
        else:
            self._missing -= len(data)
        if self._missing <= 0:
            status = int(self._buffer[STATUS])
            self._buffer, self._missing = b"", None
            self._on_answer(self, status)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self.call is not None:
            self._on_answer(self, 0)


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
        seconds: of measurement.
        cpu_s: CPU seconds that the server has used so far.
        expected: status of a good answer.
    """
    order = list(calls)
    random.Random(0).shuffle(order)
    return asyncio.run(_closed_loop(port, order, clients, (warm_s, seconds), cpu_s, _Record(expected)))


async def _closed_loop(
    port: int,
    order: list[Call],
    clients: int,
    times_s: tuple[float, float],
    cpu_s: Callable[[], float],
    record: _Record,
) -> Load:
    upcoming = cycle(order)
    end = time.perf_counter() + sum(times_s)
    done = asyncio.Event()
    busy = clients

    def answered(connection: _Connection, status: int) -> None:
        nonlocal busy
        now = time.perf_counter()
        assert connection.call is not None
        record.note(connection.call, now - connection.since, status)
        if now < end and status:
            connection.send(next(upcoming), now)
            return
        connection.call = None
        busy -= 1
        if busy == 0:
            done.set()

    connections = [await _connect(port, answered) for _ in range(clients)]
    for connection in connections:
        connection.send(next(upcoming), time.perf_counter())
    load = await _measured(record, *times_s, cpu_s)
    await asyncio.wait_for(done.wait(), DRAIN_S)
    for connection in connections:
        connection.transport.close()
    return load


def call_once(port: int, call: Call) -> int:
    """Send one call and wait for its answer; returns its status, 0 where the connection broke."""

    async def exchange() -> int:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        connection = await _connect(port, lambda _, status: answer.set_result(status))
        connection.send(call, time.perf_counter())
        status = await asyncio.wait_for(answer, DRAIN_S)
        connection.call = None
        connection.transport.close()
        return status

    return asyncio.run(exchange())


def open_loop(
    port: int, calls: Sequence[Call], rate: float, warm_s: float, seconds: float, cpu_s: Callable[[], float]
) -> Load:
    """Callers who do not wait for each other: Poisson arrivals; latency counts from the moment a call was due.

    Args:
        port: of a server on this machine.
        calls: drawn at random.
        rate: mean arrivals a second.
        warm_s: seconds before the measurement.
        seconds: of measurement.
        cpu_s: CPU seconds that the server has used so far.
    """
    generator = np.random.default_rng(0)
    due = np.cumsum(generator.exponential(1 / rate, int((warm_s + seconds) * rate * 2) + 10))
    due = due[due < warm_s + seconds]
    chosen = generator.integers(0, len(calls), len(due))
    return asyncio.run(_open_loop(port, [calls[i] for i in chosen], due.tolist(), (warm_s, seconds), cpu_s))


async def _open_loop(
    port: int, calls: list[Call], due: list[float], times_s: tuple[float, float], cpu_s: Callable[[], float]
) -> Load:
    record, idle = _Record(), deque[_Connection]()
    begun = time.perf_counter()
    window = (begun + times_s[0], begun + sum(times_s))
    left = len(calls)
    done = asyncio.Event()

    def answered(connection: _Connection, status: int) -> None:
        nonlocal left
        assert connection.call is not None
        # counted by when it was due, whenever its answer comes: slow ones must not fall out of the window
        if window[0] <= connection.since < window[1]:
            record.note(connection.call, time.perf_counter() - connection.since, status)
        connection.call = None
        if status:
            idle.append(connection)
        left -= 1
        if left == 0:
            done.set()

    async def send(call: Call, at: float) -> None:
        nonlocal left
        try:
            connection = _usable(idle) or await _connect(port, answered)
        except OSError:
            record.failures[0] += 1
            left -= 1
            return
        connection.send(call, at)

    async def arrivals() -> None:
        under_way = set()
        for call, offset in zip(calls, due, strict=True):
            await asyncio.sleep(max(0.0, begun + offset - time.perf_counter()))
            task = asyncio.ensure_future(send(call, begun + offset))
            under_way.add(task)
            task.add_done_callback(under_way.discard)

    sending = asyncio.ensure_future(arrivals())
    load = await _measured(record, *times_s, cpu_s)
    await sending
    record.measuring = True  # those that were due in time still count
    await asyncio.wait_for(done.wait(), DRAIN_S)
    for connection in idle:
        connection.transport.close()
    return load


def _usable(idle: "deque[_Connection]") -> _Connection | None:
    """The connection used last, unless the server closed it since, as it does behind a refusal."""
    while idle:
        connection = idle.pop()
        if not connection.transport.is_closing():
            return connection
    return None


async def _measured(record: _Record, warm_s: float, seconds: float, cpu_s: Callable[[], float]) -> Load:
    await asyncio.sleep(warm_s)
    machine, server, client, begun = _machine_cpu_s(), cpu_s(), _own_cpu_s(), time.perf_counter()
    record.measuring = True
    await asyncio.sleep(seconds)
    record.measuring = False
    server, client, elapsed = cpu_s() - server, _own_cpu_s() - client, time.perf_counter() - begun
    other = max(0.0, _machine_cpu_s() - machine - server - client)
    return Load(record.latencies_s, record.rows, record.failures, elapsed, client, server, other)


async def _connect(port: int, on_answer: Callable[[_Connection, int], None]) -> _Connection:
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: _Connection(on_answer), "127.0.0.1", port
    )
    return connection


def _own_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _machine_cpu_s() -> float:
    """CPU seconds of all processes, and those that another machine on the same hardware took."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    busy = sum(int(fields[1 + place]) for place in (0, 1, 2, 5, 6, 7))  # all but idle and waiting for a disk
    return busy / CLOCK_TICKS
