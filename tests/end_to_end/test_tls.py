"""A real server with a certificate: clients that trust it, clients that do not, and a certificate that is renewed."""

import contextlib
import http.client
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from loadtests.server import HOST, ServerProcess, free_port, start_server
from matchka.client import AsyncClient, Client
from matchka.errors import ServiceUnreachableError, SettingsError
from tests.factories.bundles import write_bundle
from tests.factories.certificates import made
from tests.factories.samples import sample
from tests.factories.server_process import START_S

IDLE_S = 2.0
MOST_CONNECTIONS = 20
TIMEOUT_S = 60.0

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Secured:
    """A server, the folder of its certificate, and its port for health."""

    process: ServerProcess
    folder: Path
    health_port: int

    @property
    def port(self) -> int:
        return self.process.port

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"

    @property
    def ca_file(self) -> Path:
        return self.folder / "tls.crt"

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)

    @contextlib.contextmanager
    def connected(self, port: int | None = None) -> Iterator[http.client.HTTPSConnection]:
        connection = http.client.HTTPSConnection(HOST, port or self.port, timeout=TIMEOUT_S, context=self.trusting())
        with contextlib.closing(connection):
            connection.connect()
            yield connection

    def status(self, port: int | None = None) -> int:
        """Of /healthz, over a connection of its own."""
        with self.connected(port) as connection:
            return status(connection)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    write_bundle(folder / "models" / "voice")
    certificate, key = made().write(folder)
    health_port = free_port()
    process = start_server(
        free_port(),
        folder / "data",
        folder / "models",
        folder / "server.log",
        tls_certificate=certificate,
        tls_key=key,
        health_port=health_port,
        max_idle_s=IDLE_S,
        max_connections=MOST_CONNECTIONS,
    )
    secured = Secured(process, folder, health_port)
    try:
        process.wait_until_ready(START_S, lambda _port: is_ready(secured))
        yield secured
        assert process.stop() == 0
        assert "Traceback" not in process.log.read_text()
    finally:
        process.end()


def is_ready(server: Secured) -> bool:
    with contextlib.suppress(OSError), server.connected() as connection:
        return status(connection, "/readyz") == 200
    return False


def status(connection: http.client.HTTPSConnection, path: str = "/healthz") -> int:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def serial(connection: http.client.HTTPSConnection) -> int:
    assert connection.sock is not None
    return x509.load_der_x509_certificate(connection.sock.getpeercert(binary_form=True)).serial_number


def test_client_that_trusts_the_certificate_enrols_and_verifies(server: Secured):
    with Client(server.url, ca_file=server.ca_file) as client:
        client.enroll("ada", [sample(1)])
        assert client.verify("ada", sample(1)).match


@pytest.mark.parametrize("client_class", [Client, AsyncClient])
def test_client_with_a_file_that_holds_no_authorities_is_refused(server: Secured, client_class, tmp_path: Path):
    (tmp_path / "empty").write_bytes(b"")
    for ca_file in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(SettingsError, match="trusted authorities"):
            client_class(server.url, ca_file=ca_file)


def test_client_that_does_not_trust_the_certificate_says_so(server: Secured):
    with Client(server.url) as client, pytest.raises(ServiceUnreachableError, match="No trusted TLS connection"):
        client.models()


def test_command_line_trusts_the_file_of_its_setting(server: Secured):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MATCHKA_")}
    command = [sys.executable, "-m", "matchka", "models", "--url", server.url]
    for ca_file, expected in ((str(server.ca_file), 0), ("", 2)):
        told = subprocess.run(
            command, env=environment | {"MATCHKA_CA_FILE": ca_file}, capture_output=True, text=True, check=False
        )
        assert (told.returncode == 0) == (expected == 0), told.stderr


def test_health_listener_speaks_tls_as_well_and_the_log_names_the_address(server: Secured):
    assert server.status(server.health_port) == 200
    assert f"listening on {server.url}" in server.process.log.read_text()


@pytest.mark.parametrize(
    "first",
    [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x00" * 70_000],
    ids=["http", "broken handshake", "zeros"],
)
def test_connection_that_speaks_no_tls_is_closed_and_others_are_served(server: Secured, first: bytes):
    connected = socket.create_connection((HOST, server.port), timeout=TIMEOUT_S)
    with connected as connection, contextlib.suppress(OSError):
        connection.sendall(first)
        while connection.recv(65536):
            pass
    assert server.status() == 200


def test_client_of_tls_1_1_is_refused(server: Secured):
    context = server.trusting()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection((HOST, server.port), timeout=TIMEOUT_S) as connection,
        pytest.raises(OSError),  # noqa: PT011  # ssl.SSLError, or the connection's end
        context.wrap_socket(connection, server_hostname=HOST),
    ):
        pass


def test_connections_that_never_shake_hands_are_closed_and_make_room_before_that(server: Secured):
    with contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection((HOST, server.port), timeout=TIMEOUT_S))
            for _ in range(2 * MOST_CONNECTIONS)
        ]
        time.sleep(0.3)  # so long a connection that has asked for nothing keeps its place
        assert server.status() == 200
        for connection in silent:
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""


def test_certificate_that_is_renewed_holds_for_new_connections_and_open_ones_go_on(server: Secured):
    with server.connected() as kept:
        before = serial(kept)
        renewed = made()
        renewed.write(server.folder)
        ends = time.monotonic() + TIMEOUT_S
        shown = before
        while shown != renewed.serial:
            assert time.monotonic() < ends
            assert status(kept) == 200
            # before it is read again, the client refuses what it does not trust any more
            with contextlib.suppress(ssl.SSLError), server.connected() as fresh:
                shown = serial(fresh)
                assert status(fresh) == 200
            time.sleep(0.1)
        assert status(kept) == 200
        assert serial(kept) == before


def test_start_with_a_key_that_does_not_fit_is_refused_with_the_remedy(tmp_path: Path):
    certificate, _ = made().write(tmp_path)
    stranger = tmp_path / "stranger.key"
    stranger.write_bytes(made().key)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MATCHKA_")}
    told = subprocess.run(
        [sys.executable, "-m", "matchka", "serve", "--port", str(free_port())],
        env=environment | {"MATCHKA_TLS_CERTIFICATE": str(certificate), "MATCHKA_TLS_KEY": str(stranger)},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert told.returncode == 2
    assert "does not fit" in told.stderr
    assert "MATCHKA_TLS_KEY" in told.stderr
