"""The bench's client, against a server that answers as it is told."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from loadtests.bench.serving import load
from loadtests.client.load import Call


class Recorder:
    """An HTTP server: answers each path with the status in it, in two pieces, and counts what it got."""

    def __init__(self) -> None:
        self.paths: Counter[str] = Counter()
        self.connections = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split()[1].decode()
                self.paths[path] += 1
                await asyncio.sleep(0.005)
                body = b"x" * 3000
                writer.write(f"HTTP/1.1 {path[1:]} said\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:1000])
                await writer.drain()
                await asyncio.sleep(0.001)
                writer.write(body[1000:])
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def __enter__(self) -> "Recorder":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


@pytest.fixture
def server() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


def call(status: int, rows: int):
    return Call(f"GET /{status} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), rows)


def test_closed_loop_sends_all_calls_in_turn_and_tells_good_answers_from_others(server: Recorder):
    calls = [call(200, 3), call(503, 5)]
    measured = load.closed_loop(server.port, calls, 4, 0.5, 1.5, lambda: 7.0)
    assert abs(server.paths["/200"] - server.paths["/503"]) <= 1
    assert server.connections == 4
    assert set(measured.rows) == {3}
    assert set(measured.failures) == {503}
    # what was answered while it measured, and nothing of the warm-up
    assert 0 < len(measured.latencies_s) + measured.failures[503] < sum(server.paths.values())
    assert measured.server_cpu_s == 0
    assert min(measured.latencies_s) >= 0.005
    assert measured.rate == pytest.approx(len(measured.latencies_s) / measured.seconds)


def test_closed_loop_of_another_expected_status_counts_that_one(server: Recorder):
    measured = load.closed_loop(server.port, [call(422, 1)], 1, 0.0, 1.5, lambda: 0.0, expected=422)
    assert measured.latencies_s
    assert not measured.failures


def test_open_loop_answers_every_call_that_was_due_however_slow(server: Recorder):
    measured = load.open_loop(server.port, [call(200, 2)], 100.0, 0.1, 0.5, lambda: 0.0)
    # 100 a second for half a second, drawn at random
    assert 20 <= len(measured.latencies_s) <= 90
    assert sum(server.paths.values()) >= len(measured.latencies_s)
    assert min(measured.latencies_s) >= 0.005
    assert not measured.failures


def test_undisturbed_repeats_a_spoiled_load_and_keeps_the_least_spoiled():
    others = iter([0.9, 0.3, 0.05, 0.0])
    tried = []

    def measure():
        tried.append(next(others))
        return load.Load([0.1], [1], {}, 1.0, 0.0, 0.0, tried[-1])

    assert load.undisturbed(measure).other_cpu_s == 0.05
    assert tried == [0.9, 0.3, 0.05]
