"""How a server leaves; tests/end_to_end/test_stopping.py has the signals of real processes."""

import asyncio
import contextlib
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from matchka.errors import DrainingError
from matchka.runtime.drain import ClosingAnswers, Drain, DrainingServer
from matchka.runtime.http_protocol import Bounds, RequestWatch, bounded_protocol
from tests.factories.raw_http import whole_answer

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LONG_S = 600.0  # a grace period that no test waits for
TIMEOUT_S = 60.0


def test_drain_that_has_not_begun_requires_nothing():
    drain = Drain()
    drain.require_serving()
    assert not drain.is_draining
    assert not drain.is_over


def test_drain_with_a_grace_period_is_over_when_it_begins_a_second_time():
    drain = Drain()
    drain.grace_s = LONG_S
    drain.begin()
    assert drain.is_draining
    assert not drain.is_over
    with pytest.raises(DrainingError, match="another replica"):
        drain.require_serving()
    drain.begin()
    assert drain.is_over


@pytest.mark.parametrize(("grace_s", "at_once"), [(0.0, False), (LONG_S, True)])
def test_drain_without_a_grace_period_is_over_at_once(grace_s: float, at_once: bool):
    drain = Drain()
    drain.grace_s = grace_s
    drain.begin(at_once)
    assert drain.is_draining
    assert drain.is_over


async def answers_at_once(_scope: Scope, _receive: Receive, send: Send) -> None:
    """An application that reads no body."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@dataclass(frozen=True)
class Served:
    server: DrainingServer
    drain: Drain
    thread: threading.Thread
    address: Any

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, TIMEOUT_S)


@contextlib.contextmanager
def served(application: ASGIApp = answers_at_once) -> Iterator[Served]:
    """A server of an application on a free port, with a grace period that does not end by itself."""
    drain = Drain()
    drain.grace_s = LONG_S
    http = bounded_protocol(Bounds(TIMEOUT_S))
    watched = RequestWatch(ClosingAnswers(application, drain))
    server = DrainingServer(uvicorn.Config(watched, lifespan="off", log_level="critical", http=http, ws="none"), drain)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = listener.getsockname()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        wait_until(lambda: server.started)
        try:
            yield Served(server, drain, thread, address)
        finally:
            server.should_exit = server.force_exit = True
            thread.join(TIMEOUT_S)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def closes(answer: bytes) -> bool:
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert len(re.findall(rb"\r\nconnection:", head)) <= 1
    return b"\r\nconnection: close" in head


def test_answers_while_leaving_end_their_connections_and_new_ones_are_taken():
    with served() as running, running.connect() as kept:
        for _ in range(2):
            kept.sendall(GET)
            assert not closes(whole_answer(kept))
        running.server.handle_exit(signal.SIGTERM, None)
        kept.sendall(GET)
        assert closes(whole_answer(kept))
        assert kept.recv(1) == b""
        with running.connect() as another:
            another.sendall(GET)
            assert closes(whole_answer(another))
            assert another.recv(1) == b""


def test_answer_of_a_request_that_began_before_ends_its_connection():
    begun, goes_on = threading.Event(), threading.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await asyncio.to_thread(goes_on.wait, TIMEOUT_S)
        await answers_at_once(scope, receive, send)

    with served(slow) as running, running.connect() as client:
        client.sendall(GET)
        assert begun.wait(TIMEOUT_S)
        running.drain.begin()
        goes_on.set()
        assert closes(whole_answer(client))


def test_answer_to_a_body_that_nobody_read_is_not_lost_with_its_connection():
    """Closed at once, a connection with bytes that nobody read would be reset, and its answer with it."""
    size = 3_000_000
    with served() as running, running.connect() as client:
        running.drain.begin()
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        client.sendall(bytes(size))
        answer = whole_answer(client)
        assert answer.endswith(b"\r\n\r\nok")
        assert closes(answer)
        assert client.recv(1) == b""


def test_answer_that_closes_by_itself_says_so_once():
    async def closing(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"2"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    with served(closing) as running, running.connect() as client:
        running.drain.begin()
        client.sendall(GET)
        assert closes(whole_answer(client))


@pytest.mark.parametrize(
    "signals", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT), (signal.SIGINT,)]
)
def test_server_ends_and_closes_idle_connections_when_the_grace_period_is_ended(signals: tuple[signal.Signals, ...]):
    with served() as running, running.connect() as idle:
        idle.sendall(GET)
        whole_answer(idle)
        for sent in signals:
            running.server.handle_exit(sent, None)
        assert idle.recv(1) == b""
        running.thread.join(TIMEOUT_S)
        assert not running.thread.is_alive()


def test_server_ends_by_itself_when_the_grace_period_is_over():
    with served() as running:
        running.drain.grace_s = 0.2
        running.server.handle_exit(signal.SIGTERM, None)
        running.thread.join(TIMEOUT_S)
        assert not running.thread.is_alive()


def test_request_in_flight_is_waited_for_until_a_further_signal():
    begun = threading.Event()

    async def endless(_scope: Scope, receive: Receive, _send: Send) -> None:
        begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass

    with served(endless) as running, running.connect() as client:
        client.sendall(GET)
        assert begun.wait(TIMEOUT_S)
        running.server.handle_exit(signal.SIGINT, None)
        wait_until(lambda: not running.server.servers[0].is_serving())
        running.thread.join(0.5)
        assert running.thread.is_alive()
        running.server.handle_exit(signal.SIGTERM, None)
        running.thread.join(TIMEOUT_S)
        assert not running.thread.is_alive()


def test_server_beats_once_a_second_whatever_the_wall_clock_does(monkeypatch: pytest.MonkeyPatch):
    beats: list[int] = []

    async def beat() -> None:
        beats.append(len(beats))

    async def nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
        pass

    async def scenario() -> None:
        server = DrainingServer(uvicorn.Config(nothing, log_config=None), Drain(), beat)
        now = time.time()
        for tick in range(31):
            monkeypatch.setattr(time, "time", lambda tick=tick: now - 60 * tick)
            await server.on_tick(tick)

    asyncio.run(scenario())
    assert beats == [0, 1, 2, 3]
