"""Requests and their ends on one connection; tests/end_to_end/test_hostile_clients.py has the bounds."""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from loadtests.server import free_port
from matchka.app import create_app
from matchka.cli.serving.serve import _bound_socket
from matchka.cli.serving.server import _server_config
from matchka.runtime.http_protocol import LARGEST_HEAD, Bounds, RequestWatch, _TurnedAway, bounded_protocol
from matchka.settings import Settings
from tests.factories.raw_http import whole_answer

TIMEOUT_S = 120.0


def test_connection_turned_away_after_its_client_reset_it_is_given_up_without_an_error():
    """The reset is not known yet when the answer is written, and ending the stream then fails."""

    async def scenario() -> list[dict[str, Any]]:
        errors: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: errors.append(context))
        lost = asyncio.Event()
        others: dict[_TurnedAway, None] = {}

        class Accepted(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
                opened = cast(asyncio.Transport, transport)
                try:
                    _TurnedAway(opened, others).answer(b"")
                finally:
                    assert isinstance(opened.get_protocol(), _TurnedAway)
                    loop.call_later(0.1, lost.set)

        listener = _bound_socket("127.0.0.1", free_port())
        client = socket.create_connection(listener.getsockname())
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        server = await loop.create_server(Accepted, sock=listener)
        await asyncio.wait_for(lost.wait(), TIMEOUT_S)
        server.close()
        await server.wait_closed()
        assert not others
        return errors

    assert asyncio.run(scenario()) == []


def test_client_that_leaves_with_two_requests_out_is_noticed_by_the_first():
    """The server itself tells the newest request of a connection, which waits behind the one that is being answered."""
    begun, told = threading.Event(), threading.Event()

    async def application(_scope: Any, receive: Any, _send: Any) -> None:
        begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        told.set()

    with served(application) as address, socket.create_connection(address) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        assert begun.wait(TIMEOUT_S)
        time.sleep(0.2)  # for the second to be read
        client.close()
        assert told.wait(TIMEOUT_S)


@contextlib.contextmanager
def served(application: ASGIApp) -> Iterator[Any]:
    """A server of an application on a free port; gives the address."""
    http = bounded_protocol(Bounds(TIMEOUT_S))
    config = uvicorn.Config(RequestWatch(application), lifespan="off", log_level="critical", http=http, ws="none")
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = server.force_exit = True
            thread.join(TIMEOUT_S)


async def answers_at_once(_scope: Scope, _receive: Receive, send: Send) -> None:
    """An application that reads no body."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
SOON = 1 << 19  # bytes behind the bound of a head, those of a body that nobody read among them


@pytest.mark.parametrize("length", [10, 300_000, 3_000_000])
def test_body_that_nobody_reads_is_no_head_and_the_connection_is_used_again(length: int):
    with served(answers_at_once) as address, socket.create_connection(address, TIMEOUT_S) as client:
        for _ in range(3):
            client.sendall(POST + b"Content-Length: %d\r\n\r\n" % length)
            assert whole_answer(client).endswith(b"\r\n\r\nok")
            client.sendall(bytes(length))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert whole_answer(client).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "before",
    [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", POST + b"Content-Length: 300000\r\n\r\n" + bytes(300_000)],
    ids=["the first", "the second", "behind a body that nobody read"],
)
def test_head_without_end_is_refused_soon_behind_its_bound(before: bytes):
    with served(answers_at_once) as address, socket.create_connection(address, TIMEOUT_S) as client:
        if before:
            client.sendall(before)
            assert whole_answer(client).endswith(b"ok")
        with contextlib.suppress(ConnectionError):  # it is closed over what was not read, and may lose the answer
            client.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * (LARGEST_HEAD + SOON))
            assert client.recv(1000).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(("line_bytes", "status"), [(LARGEST_HEAD - 100, 200), (LARGEST_HEAD + 1, 400)])
def test_head_of_one_piece_is_served_up_to_its_bound(line_bytes: int, status: int):
    with served(answers_at_once) as address, socket.create_connection(address, TIMEOUT_S) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * line_bytes + b"\r\n\r\n")
        assert whole_answer(client).startswith(b"HTTP/1.1 %d " % status)


WAITING = 30


def test_server_takes_all_connections_that_wait_in_one_round_and_sends_small_answers_at_once(settings: Settings):
    """A loop that takes one in each round lets /healthz wait behind a flood for as many rounds as there are others."""
    config = _server_config(create_app(settings), settings, 100)
    accepted_in: list[int] = []
    sent_at_once: list[bool] = []
    current_round = 0

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted_in.append(current_round)
            accepted = transport.get_extra_info("socket")
            sent_at_once.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)
            transport.abort()  # type: ignore[attr-defined]

    async def scenario() -> None:
        nonlocal current_round
        listener = _bound_socket("127.0.0.1", free_port())
        server = await asyncio.get_running_loop().create_server(Accepted, sock=listener, backlog=config.backlog)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(WAITING)]
        while len(accepted_in) < WAITING:
            current_round += 1
            await asyncio.sleep(0)
        for client in clients:
            client.close()
        server.close()
        await server.wait_closed()

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(asyncio.wait_for(scenario(), TIMEOUT_S))
    assert max(accepted_in) - min(accepted_in) < WAITING / 3
    assert all(sent_at_once)
