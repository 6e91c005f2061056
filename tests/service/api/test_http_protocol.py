"""What the connections take from the server's own protocol; tests/end_to_end/test_hostile_clients.py has the rest."""

import asyncio
import inspect
import socket
import threading
import time
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from matchka.api.http_protocol import patient_protocol
from matchka.app import create_app
from matchka.cli.serve import _bound_socket, _server_config
from matchka.settings import Settings
from tests.server_process import free_port

PATIENCE_S = 120.0


def test_server_still_has_what_is_overridden():
    """Another uvicorn may name it otherwise; without it, answers could be written to connections that are closed."""
    assert list(inspect.signature(HttpToolsProtocol._start_asgi_task).parameters) == ["self", "cycle", "app"]
    assert {"disconnected", "message_event"} <= set(vars_of(RequestResponseCycle))


def vars_of(kind: type) -> list[str]:
    """Attributes that its constructor sets."""
    return [word.removeprefix("self.") for word in inspect.getsource(kind.__init__).split() if word.startswith("self.")]


def test_client_that_leaves_with_two_requests_out_is_noticed_by_the_first():
    """The server itself tells the newest request of a connection, which waits behind the one that is being answered."""
    begun, told = threading.Event(), threading.Event()

    async def application(_scope: Any, receive: Any, _send: Any) -> None:
        begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        told.set()

    config = uvicorn.Config(application, lifespan="off", log_level="critical", http=patient_protocol(PATIENCE_S))
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
            assert begun.wait(PATIENCE_S)
            time.sleep(0.2)  # for the second to be read
        was_told = told.wait(PATIENCE_S)
        server.should_exit = server.force_exit = True
        thread.join(PATIENCE_S)
    assert was_told


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
        runner.run(asyncio.wait_for(scenario(), PATIENCE_S))
    assert max(accepted_in) - min(accepted_in) < WAITING / 3
    assert all(sent_at_once)
