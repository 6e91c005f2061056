"""Real server processes that are told to stop while clients ask: nobody who listens to them loses a request."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from loadtests.server import HOST, ServerProcess, free_port, start_server, status_of
from tests.factories.bundles import write_bundle
from tests.factories.certificates import made
from tests.factories.raw_http import whole_answer
from tests.factories.samples import sample
from tests.factories.server_process import START_S, start, wait_until_ready

CLIENTS = 8
ANSWERS = 200  # of all clients, before the first server is told to stop, and after it ended
GRACE_S = 600.0  # that no test waits for: a second signal ends it
TIMEOUT_S = 120.0

pytestmark = pytest.mark.slow


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@dataclass
class Client(threading.Thread):
    """Asks one server again and again on one connection; when an answer ends that, goes on with the other one.

    Attributes: answered: by each server.
    """

    urls: tuple[str, str]
    verify: bool | str
    answered: list[int] = field(default_factory=lambda: [0, 0])
    errors: list[str] = field(default_factory=list)
    left: bool = False

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        file, place, session = sample(1), 0, requests.Session()
        while not self.left and not self.errors:
            try:
                answer = session.post(
                    f"{self.urls[place]}/v1/embed",
                    data={"model": "voice"},
                    files={"file": ("a", file)},
                    timeout=TIMEOUT_S,
                    verify=self.verify,
                )
            except requests.RequestException as error:
                self.errors.append(repr(error))
                return
            if answer.status_code != 200:
                self.errors.append(answer.text)
            self.answered[place] += 1
            if answer.headers.get("connection") == "close":
                place, session = 1 - place, requests.Session()


@contextmanager
def asking(urls: tuple[str, str], verify: bool | str = True) -> Iterator[list[Client]]:
    clients = [Client(urls, verify) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.left = True
        for client in clients:
            client.join(TIMEOUT_S)


def answers_of(clients: list[Client], place: int) -> int:
    return sum(client.answered[place] for client in clients)


@pytest.mark.parametrize("is_secured", [False, True])
def test_server_told_to_stop_under_load_costs_no_client_an_error(tmp_path: Path, is_secured: bool):
    write_bundle(tmp_path / "models" / "voice")
    settings: dict[str, object] = {}
    verify: bool | str = True
    if is_secured:
        certificate, key = made().write(tmp_path)
        settings |= {"tls_certificate": certificate, "tls_key": key}
        verify = str(certificate)
    scheme = "https" if is_secured else "http"

    def is_ready(port: int) -> bool:
        try:
            return requests.get(f"{scheme}://{HOST}:{port}/readyz", timeout=TIMEOUT_S, verify=verify).ok
        except requests.ConnectionError:
            return False

    servers: list[ServerProcess] = []
    with ExitStack() as stack:
        for name, grace_s in (("a", GRACE_S), ("b", 0.0)):
            log, data_dir = tmp_path / f"{name}.log", tmp_path / name
            given = {**settings, "drain_s": grace_s}
            servers.append(start_server(free_port(), data_dir, tmp_path / "models", log, **given))
            stack.callback(servers[-1].end)
        for server in servers:
            server.wait_until_ready(START_S, is_ready)
        first, second = servers
        urls = (f"{scheme}://{HOST}:{first.port}", f"{scheme}://{HOST}:{second.port}")
        with asking(urls, verify) as clients:
            wait_until(lambda: answers_of(clients, 0) >= ANSWERS or any(client.errors for client in clients))
            first.process.terminate()
            wait_until(lambda: all(client.answered[1] or client.errors for client in clients))
            first.process.terminate()  # everybody has left: the grace period is ended, however busy this machine is
            first.process.wait(TIMEOUT_S)
            wait_until(lambda: answers_of(clients, 1) >= ANSWERS or any(client.errors for client in clients))
        assert [error for client in clients for error in client.errors] == []
        assert first.process.returncode == 0
        assert second.stop() == 0
        assert "Traceback" not in first.log.read_text()


def test_health_listener_says_that_the_server_leaves_until_the_last_request_is_answered(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    health_port = free_port()
    settings = {"drain_s": GRACE_S, "health_port": health_port}
    server = start_server(free_port(), tmp_path / "data", tmp_path / "models", tmp_path / "log", **settings)
    try:
        wait_until_ready(server)
        assert "matchka_draining 0.0" in metrics(health_port)
        with held_request(server.port) as (finish, connection):
            server.process.terminate()
            wait_until(lambda: status_of(health_port, "/readyz") == 503)
            for port in (server.port, health_port):
                answer = requests.get(f"http://{HOST}:{port}/readyz", timeout=TIMEOUT_S)
                assert answer.status_code == 503
                assert answer.json()["code"] == "draining"
                assert answer.headers["retry-after"] == "1"
                assert answer.headers["connection"] == "close"
                assert status_of(port, "/healthz") == 200
            assert "matchka_draining 1.0" in metrics(health_port)
            server.process.terminate()  # the grace period is ended
            wait_until(lambda: status_of(server.port, "/healthz") == 0)
            assert status_of(health_port, "/readyz") == 503
            assert status_of(health_port, "/healthz") == 200
            finish()
            assert whole_answer(connection).startswith(b"HTTP/1.1 422")
        assert server.process.wait(TIMEOUT_S) == 0
    finally:
        server.end()


def metrics(port: int) -> str:
    return requests.get(f"http://{HOST}:{port}/metrics", timeout=TIMEOUT_S).text


@contextmanager
def held_request(port: int) -> Iterator[tuple[Callable[[], None], socket.socket]]:
    """A request whose body is not complete until it is finished; the form that it is then lacks everything."""
    body = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nvoice\r\n--x--\r\n'
    head = b"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with socket.create_connection((HOST, port), TIMEOUT_S) as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body[:10])
        yield lambda: connection.sendall(body[10:]), connection


def test_interrupt_of_a_terminal_waits_for_no_grace_period(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    server = start(tmp_path / "models", tmp_path / "data", None, True, {"MATCHKA_DRAIN_S": str(GRACE_S)})
    server.process.send_signal(signal.SIGINT)
    server.process.wait(TIMEOUT_S)
    assert "Traceback" not in server.log.read_text()


def test_second_signal_ends_the_grace_period(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    server = start(tmp_path / "models", tmp_path / "data", None, True, {"MATCHKA_DRAIN_S": str(GRACE_S)})
    server.process.terminate()
    port = int(server.url.rpartition(":")[2])
    wait_until(lambda: status_of(port, "/readyz") == 503)
    server.process.terminate()
    assert server.process.wait(TIMEOUT_S) == 0


def test_server_stops_by_itself_when_the_grace_period_is_over(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    server = start(tmp_path / "models", tmp_path / "data", None, True, {"MATCHKA_DRAIN_S": "0.5"})
    server.process.terminate()
    assert server.process.wait(TIMEOUT_S) == 0
    assert "requests are still taken for 0.5 s" in server.log.read_text()
