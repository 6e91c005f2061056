"""HAProxy with the configuration of deploy/, before small servers of which the test knows what they were asked."""

import json
import re
import shutil
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from loadtests.server import HOST, ServerProcess, free_port, start_process
from loadtests.torture.replicas.proxy import COMMAND, DEPLOY, program
from matchka.api.answers.service import Problem
from tests.factories.certificates import made

BOUND_S = 60.0
KEY_OF_TWO = "mk_781e4743c05e_" + "0" * 64
pytestmark = pytest.mark.skipif(program() is None, reason="HAProxy is not installed")


@dataclass
class Stub:
    """A server in the place of a replica.

    Attributes:
        name: is what it answers.
        asked: method, path and headers, by names in small letters, of what was sent to it, health checks aside.
        status: of its answers; 0: it closes the connection instead.
        is_ready: what it tells health checks.
    """

    name: str
    asked: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    status: int = 200
    is_ready: bool = True
    port: int = 0


@contextmanager
def served(stub: Stub) -> Iterator[Stub]:
    """Answer until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_DELETE(self) -> None:
            self.answer()

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            is_check = self.path == "/readyz"
            status = (200 if stub.is_ready else 503) if is_check else stub.status
            if not is_check:
                sent = {name.lower(): value for name, value in self.headers.items()}
                stub.asked.append((self.command, self.path, sent))
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(stub.name)))
            with suppress(ConnectionError):  # of a check that has seen enough
                self.end_headers()
                self.wfile.write(stub.name.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        server.daemon_threads = True
        stub.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Site:
    """A proxy and what is behind it."""

    proxy: ServerProcess
    a: Stub
    b: Stub
    two: Stub

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Status, content and headers, over a connection of its own; status 0 where none came."""
        connection = HTTPConnection(HOST, self.proxy.port, timeout=BOUND_S)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        except (HTTPException, OSError):
            return 0, b"", {}
        finally:
            connection.close()


def environment_of(a: Stub, b: Stub, two: Stub) -> dict[str, str]:
    return {
        "PROXY_REPLICA_A": f"{HOST}:{a.port}",
        "PROXY_HEALTH_A": str(a.port),
        "PROXY_REPLICA_B": f"{HOST}:{b.port}",
        "PROXY_HEALTH_B": str(b.port),
        "PROXY_REPLICA_TWO_A": f"{HOST}:{two.port}",
        "PROXY_HEALTH_TWO_A": str(two.port),
        "PROXY_REPLICA_TWO_B": f"{HOST}:{two.port}",
        "PROXY_HEALTH_TWO_B": str(two.port),
    }


@contextmanager
def opened_site(folder: Path, *files: str, **environment: str) -> Iterator[Site]:
    with ExitStack() as stack:
        a, b, two = (stack.enter_context(served(Stub(name))) for name in ("a", "b", "two"))
        command = (*COMMAND[:2], COMMAND[2], str(DEPLOY / "haproxy.cfg"))
        if files:
            both = "".join((DEPLOY / file).read_text() for file in ("haproxy.cfg", *files))
            (folder / "both.cfg").write_text(both)
            command = (*COMMAND, str(folder / "both.cfg"))
        variables = {**environment_of(a, b, two), **environment}
        proxy = start_process(command, free_port(), folder / "proxy.log", variables)
        stack.callback(proxy.end)
        site = Site(proxy, a, b, two)
        if not environment.get("PROXY_CERTIFICATE"):
            proxy.wait_until_ready(BOUND_S, lambda _port: site.ask("GET", "/")[0] == 200)
        yield site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with opened_site(tmp_path) as site:
        a, b = len(site.a.asked), len(site.b.asked)
        del site.a.asked[:a], site.b.asked[:b]
        yield site


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/v1/subjects", {}),
        ("POST", "/v1/verify", {}),
        ("POST", "/v1/identify", {}),
        ("POST", "/v1/enroll", {"Idempotency-Key": "7"}),
        ("DELETE", "/v1/subjects/eva", {"Idempotency-Key": "8"}),
    ],
)
@pytest.mark.parametrize("status", [0, 503])
def test_request_that_may_be_sent_twice_goes_to_the_other_replica(
    site: Site, method: str, path: str, headers: dict[str, str], status: int
):
    site.a.status = status
    for _ in range(4):
        assert site.ask(method, path, headers, b"x" * 1000)[:2] == (200, b"b")
    assert len(site.b.asked) == 4
    assert site.a.asked  # it was tried


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/v1/enroll", {}),
        ("DELETE", "/v1/subjects/eva", {}),
        ("POST", "/v1/keys", {}),
        ("POST", "/v1/keys", {"Idempotency-Key": "9"}),  # of which the service knows nothing: two keys would be made
    ],
)
@pytest.mark.parametrize(("status", "answered"), [(0, 502), (503, 503)])
def test_change_that_is_not_known_again_is_sent_once(
    site: Site, method: str, path: str, headers: dict[str, str], status: int, answered: int
):
    site.a.status = site.b.status = status
    assert site.ask(method, path, headers, b"x" * 1000)[0] == answered
    assert len(site.a.asked) + len(site.b.asked) == 1


def test_request_larger_than_a_buffer_is_sent_once(site: Site):
    site.a.status = site.b.status = 503
    assert site.ask("POST", "/v1/verify", {}, b"x" * 100_000)[0] == 503
    assert len(site.a.asked) + len(site.b.asked) == 3
    assert site.ask("POST", "/v1/verify", {}, b"x" * 200_000)[0] == 503
    assert len(site.a.asked) + len(site.b.asked) == 4


def test_replica_that_says_it_leaves_gets_nothing_new_and_its_return_is_noticed(site: Site):
    def answering() -> set[bytes]:
        return {site.ask("GET", "/v1/models")[1] for _ in range(8)}

    def wait_for(expected: set[bytes]) -> None:
        deadline = time.monotonic() + BOUND_S
        while answering() != expected:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    assert answering() == {b"a", b"b"}
    site.a.is_ready = False
    wait_for({b"b"})
    site.a.is_ready = True
    wait_for({b"a", b"b"})


def test_own_answers_are_problems(site: Site):
    site.a.status = site.b.status = 0
    status, content, headers = site.ask("POST", "/v1/enroll", {}, b"x")
    assert (status, Problem.model_validate_json(content).status) == (502, 502)
    assert headers["content-type"] == "application/problem+json"
    site.a.is_ready = site.b.is_ready = False
    deadline = time.monotonic() + BOUND_S
    while site.ask("GET", "/v1/models")[0] != 503:
        assert time.monotonic() < deadline
    status, content, headers = site.ask("GET", "/v1/models")
    assert Problem.model_validate_json(content).code == "not_ready"
    assert headers["retry-after"] == "1"


def test_problems_in_the_configuration_are_whole():
    text = (DEPLOY / "haproxy.cfg").read_text()
    lines = [line for line in text.splitlines() if "string '" in line]
    assert len(lines) >= 5
    for line in lines:
        problem = json.loads(line.partition("string '")[2].split("'")[0])
        assert f"status {problem['status']} " in line
        assert Problem.model_validate(problem).type == f"urn:matchka:problem:{problem['code']}"


def test_variables_of_the_configuration_are_those_of_the_page():
    text = (DEPLOY / "haproxy.cfg").read_text()
    known = set(re.findall(r"\$\{(PROXY_\w+)", text)) | set(re.findall(r"defined\((PROXY_\w+)\)", text))
    page = (DEPLOY.parent / "docs" / "replicas.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `PROXY_")]
    assert {name for row in rows for name in re.findall(r"PROXY_\w+", row)} == known


def test_body_beyond_the_limit_is_refused_before_it_is_sent(site: Site):
    connection = HTTPConnection(HOST, site.proxy.port, timeout=BOUND_S)
    connection.putrequest("POST", "/v1/embed")
    connection.putheader("Content-Length", str((20 << 20) + 1))
    connection.endheaders()
    connection.send(b"x" * (1 << 18))  # more than is collected before anything is decided
    answer = connection.getresponse()
    assert (answer.status, Problem.model_validate_json(answer.read()).code) == (413, "body_too_large")
    connection.close()
    assert not site.a.asked + site.b.asked


def test_forwarded_address_is_replaced(site: Site):
    told = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Forwarded-Proto": "https"}
    assert site.ask("GET", "/v1/models", told)[0] == 200
    ((_, _, headers),) = site.a.asked + site.b.asked
    assert headers["x-forwarded-for"] == HOST
    assert headers["x-forwarded-proto"] == "http"
    assert "forwarded" not in headers


def test_metrics_are_not_told_through_the_proxy(site: Site):
    assert site.ask("GET", "/metrics")[0] == 404
    assert not site.a.asked + site.b.asked


@pytest.mark.parametrize(
    ("authorization", "group"),
    [
        (f"Bearer {KEY_OF_TWO}", b"two"),
        (KEY_OF_TWO, b"two"),
        ("Bearer mk_000000000000_" + "0" * 64, b"one"),
        ("Bearer first-key", b"one"),
        ("Bearer", b"one"),
        ("Bearer a_781e4743c05e", b"two"),  # the group checks the key; which one is asked is no secret
        ("Bearer mk_781e4743c05e%0a_x", b"one"),
        (None, b"one"),
    ],
)
def test_group_follows_from_the_id_in_the_key(tmp_path: Path, authorization: str | None, group: bytes):
    (tmp_path / "shards.map").write_text(f"# of tenants\n{KEY_OF_TWO.split('_')[1]} two\n")
    with opened_site(tmp_path, "haproxy.two.cfg", PROXY_SHARDS=str(tmp_path / "shards.map")) as site:
        headers = {} if authorization is None else {"Authorization": authorization}
        status, content, _ = site.ask("GET", "/v1/models", headers)
        assert status == 200
        assert (b"two" if content == b"two" else b"one") == group


def test_certificate_that_is_named_is_served_and_the_scheme_is_told(tmp_path: Path):
    pair = made()
    (tmp_path / "both.pem").write_bytes(pair.certificate + pair.key)
    with opened_site(tmp_path, PROXY_CERTIFICATE=str(tmp_path / "both.pem")) as site:
        trusting = ssl.create_default_context(cadata=pair.certificate.decode())
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusting)
        )
        deadline = time.monotonic() + BOUND_S
        while True:
            try:
                answer = opener.open(f"https://{HOST}:{site.proxy.port}/v1/models", timeout=BOUND_S)
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert answer.status == 200
        ((_, _, headers),) = site.a.asked + site.b.asked
        assert headers["x-forwarded-proto"] == "https"


def test_example_of_a_map_is_one_that_haproxy_reads(tmp_path: Path):
    shutil.copy(DEPLOY / "shards.map", tmp_path)
    with opened_site(tmp_path, "haproxy.two.cfg", PROXY_SHARDS=str(tmp_path / "shards.map")) as site:
        assert site.ask("GET", "/v1/models", {"Authorization": f"Bearer {KEY_OF_TWO}"})[1] in (b"a", b"b")
