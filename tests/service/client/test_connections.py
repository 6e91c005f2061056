"""Both clients on the wire: shared connections, nothing sent twice, proxies, and the same errors from each."""

import asyncio
import contextlib
import http.server
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from matchka.client import AsyncClient, Client, Patience, calls, retries
from matchka.errors import MatchkaError, RequestFailedError, ServiceUnreachableError, SettingsError
from tests.factories.samples import sample, voice
from tests.factories.slow_embedding import embedding_of
from tests.factories.small_server import SmallServer

KEY = "0123456789abcdef"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
Ask = Callable[..., Any]


def asked(url: str, call: str, *arguments: Any, idempotency_key: str | None = None, **options: Any) -> Any:
    """One call of a client of its own."""
    given = {"idempotency_key": idempotency_key} if idempotency_key else {}
    with Client(url, **options) as client:
        return getattr(client, call)(*arguments, **given)


def asked_asynchronously(
    url: str, call: str, *arguments: Any, idempotency_key: str | None = None, **options: Any
) -> Any:
    """One call of an asynchronous client of its own."""
    given = {"idempotency_key": idempotency_key} if idempotency_key else {}

    async def ask() -> Any:
        async with AsyncClient(url, **options) as client:
            return await getattr(client, call)(*arguments, **given)

    return asyncio.run(ask())


both_clients = pytest.mark.parametrize("ask", [asked, asked_asynchronously])


@dataclass
class Peer:
    """A server of this test: what reached it, and how it answers. Kept connections are closed after `idle_s`."""

    status: int = 200
    body: bytes = b'{"models": []}'
    headers: dict[str, str] = field(default_factory=dict)
    answers: int = 1_000_000  # then connections are closed without one
    idle_s: float | None = None
    connections: int = 0
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)  # of idempotency
    url: str = ""


@pytest.fixture
def peer() -> Iterator[Peer]:
    recorded = Peer()
    with listening(recorded, "127.0.0.1", None):
        yield recorded


@contextlib.contextmanager
def listening(recorded: Peer, host: str, tls: ssl.SSLContext | None) -> Iterator[None]:
    """Let a peer listen until the end of the block."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            recorded.connections += 1
            self.connection.settimeout(recorded.idle_s)

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            recorded.requests.append((self.command, self.path, self.headers["Authorization"]))
            recorded.keys.append(self.headers["Idempotency-Key"])
            if len(recorded.requests) > recorded.answers:
                self.close_connection = True
                return
            self.send_response(recorded.status)
            for name, value in recorded.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(recorded.body)))
            self.end_headers()
            self.wfile.write(recorded.body)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer((host, 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    recorded.url = f"{'https' if tls else 'http'}://{host}:{server.server_address[1]}"
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _no_proxies_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *(name.lower() for name in PROXIES)):
        monkeypatch.delenv(name, raising=False)


def test_asynchronous_client_goes_the_whole_way(small_server: SmallServer):
    async def go() -> None:
        async with AsyncClient(small_server.url) as client:
            await client.wait_until_ready(5)
            enrolled = await client.enroll("async:1", [sample(1), sample(1, 1)])
            assert (enrolled.subject_id, enrolled.template_count) == ("async:1", 2)
            with Client(small_server.url) as blocking:
                for call, arguments in [
                    ("verify", ("async:1", sample(3))),
                    ("identify", (sample(2),)),
                    ("compare", (sample(1), sample(2))),
                    ("subject", ("async:1",)),
                    ("subjects", ()),
                    ("models", ()),
                ]:
                    assert await getattr(client, call)(*arguments) == getattr(blocking, call)(*arguments)
            await client.delete_template(enrolled.template_ids[0])
            await client.delete_subject("async:1")
            with pytest.raises(RequestFailedError) as refused:
                await client.subject("async:1")
            assert refused.value.code == "unknown_subject"
            assert "matchka_gallery_subjects" in await client.metrics()

    asyncio.run(go())


def test_url_of_both_clients_is_where_the_service_is_without_its_slash():
    async def url_of_asynchronous_one() -> str:
        async with AsyncClient("http://service.invalid:1/") as client:
            return client.url

    with Client("http://service.invalid:1/") as client:
        assert [client.url, asyncio.run(url_of_asynchronous_one())] == ["http://service.invalid:1"] * 2


def test_tasks_that_share_a_client_each_get_their_own_answer(small_server: SmallServer):
    async def go() -> list[Any]:
        async with AsyncClient(small_server.url) as client:
            return await asyncio.gather(*(client.embed([sample(person)]) for person in range(24)))

    for person, answer in enumerate(asyncio.run(go())):
        np.testing.assert_allclose(answer.embeddings[0], embedding_of(voice(person)), atol=5e-5)


def test_threads_that_share_a_client_each_get_their_own_answer(small_server: SmallServer):
    with Client(small_server.url) as client, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda person: client.embed([sample(person)]), range(24)))
    for person, answer in enumerate(answers):
        np.testing.assert_allclose(answer.embeddings[0], embedding_of(voice(person)), atol=5e-5)


def test_calls_of_a_client_share_one_connection(peer: Peer):
    with Client(peer.url) as client:
        for _ in range(5):
            client.models()
    assert (len(peer.requests), peer.connections) == (5, 1)

    async def go() -> None:
        async with AsyncClient(peer.url) as client:
            for _ in range(5):
                await client.models()

    asyncio.run(go())
    assert (len(peer.requests), peer.connections) == (10, 2)


def test_connection_that_the_service_closed_in_between_is_replaced(peer: Peer):
    peer.idle_s = 0.05
    with Client(peer.url) as client:
        client.models()
        threading.Event().wait(0.5)
        client.models()
    assert (len(peer.requests), peer.connections) == (2, 2)


@both_clients
@pytest.mark.parametrize(
    ("call", "arguments"),
    [("embed", ([b"x"],)), ("delete_subject", ("a",)), ("delete_template", ("t",)), ("models", ())],
)
def test_call_without_an_answer_is_not_sent_again(peer: Peer, ask: Ask, call: str, arguments: tuple[Any, ...]):
    peer.answers = 0
    with pytest.raises(ServiceUnreachableError, match="does not answer"):
        ask(peer.url, call, *arguments)
    assert len(peer.requests) == 1


@both_clients
def test_enrolment_without_an_answer_is_sent_again_under_one_key_and_only_so_often(
    peer: Peer, ask: Ask, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retries, "FIRST_PAUSE_S", 0.001)
    peer.answers = 0
    for _ in range(2):
        with pytest.raises(ServiceUnreachableError, match="does not answer"):
            ask(peer.url, "enroll", "a", [b"x"])
    assert len(peer.requests) == 2 * retries.MOST_TRIES
    assert {path for _, path, _ in peer.requests} == {"/v1/enroll"}
    first, second = set(peer.keys[: retries.MOST_TRIES]), set(peer.keys[retries.MOST_TRIES :])
    assert len(first) == len(second) == len(first ^ second) - 1 == 1
    assert all(key and len(key) >= 32 for key in first | second)


@both_clients
def test_enrolment_is_sent_again_when_there_is_no_room_and_after_the_time_it_is_told(
    peer: Peer, ask: Ask, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retries, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(retries, "LONGEST_PAUSE_S", 0.05)  # in place of the second of Retry-After
    problem = {"type": "about:blank", "title": "", "code": "draining", "detail": "", "value": None, "remedy": ""}
    peer.status, peer.body = 503, json.dumps(problem | {"status": 503}).encode()
    peer.headers = {"Retry-After": "1"}
    with pytest.raises(RequestFailedError) as refused:
        ask(peer.url, "enroll", "a", [b"x"], idempotency_key="mine")
    assert (refused.value.status, refused.value.code) == (503, "draining")
    assert peer.keys == ["mine"] * retries.MOST_TRIES


def no_room() -> bytes:
    problem = {"type": "about:blank", "title": "", "code": "overloaded", "detail": "", "value": None, "remedy": ""}
    return json.dumps(problem | {"status": 503}).encode()


@pytest.mark.parametrize(("call", "arguments"), [("embed", ([b"x"],)), ("models", ()), ("verify", ("a", b"x"))])
def test_safe_call_is_sent_again_when_there_is_no_room_by_a_client_with_patience_alone(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, call: str, arguments: tuple[Any, ...]
):
    monkeypatch.setattr(retries, "FIRST_PAUSE_S", 0.001)
    peer.status, peer.body = 503, no_room()
    told: list[float] = []
    for patience, tries in ((Patience(), 1), (Patience(repeats_safe_calls=True, tell=told.append), retries.MOST_TRIES)):
        peer.requests.clear()
        with Client(peer.url, patience=patience) as client, pytest.raises(RequestFailedError) as refused:
            getattr(client, call)(*arguments)
        assert refused.value.code == "overloaded"
        assert len(peer.requests) == tries
    assert len(told) == retries.MOST_TRIES - 1


@pytest.mark.parametrize(
    ("call", "arguments", "named"),
    [
        ("delete_subject", ("a",), {}),
        ("create_key", ("a",), {}),
        ("challenge", ("a",), {}),
        ("verify", ("a", b"x"), {"challenge_id": "used up"}),
    ],
)
def test_call_that_changes_something_is_sent_once_by_a_client_with_patience_too(
    peer: Peer, call: str, arguments: tuple[Any, ...], named: dict[str, str]
):
    peer.status, peer.body = 503, no_room()
    patient = Patience(repeats_safe_calls=True)
    with Client(peer.url, patience=patient) as client, pytest.raises(RequestFailedError):
        getattr(client, call)(*arguments, **named)
    assert len(peer.requests) == 1


def test_safe_call_without_an_answer_is_not_sent_again_by_a_client_with_patience_either(peer: Peer):
    peer.answers = 0
    patient = Patience(repeats_safe_calls=True)
    with Client(peer.url, patience=patient) as client, pytest.raises(ServiceUnreachableError):
        client.models()
    assert len(peer.requests) == 1


@both_clients
@pytest.mark.parametrize("status", [409, 422, 500])
def test_enrolment_that_is_refused_is_not_sent_again(peer: Peer, ask: Ask, status: int):
    problem = {"type": "about:blank", "title": "", "code": "refused", "detail": "", "value": None, "remedy": ""}
    peer.status, peer.body = status, json.dumps(problem | {"status": status}).encode()
    with pytest.raises(RequestFailedError):
        ask(peer.url, "enroll", "a", [b"x"])
    assert len(peer.requests) == 1


def test_pauses_grow_by_halves_at_most_follow_the_service_and_end():
    response = httpx2.Response(503, headers={"Retry-After": "3"})
    for _ in range(20):
        tries = retries.Retries(calls.enroll("a", [b"x"]))
        first, second = (tries.pause_after_error(httpx2.ConnectError("refused")) for _ in range(2))
        assert 0.1 <= first <= 0.2 <= 2 * second <= 0.8
        assert tries.pause_after_answer(response) == 3.0
        assert tries.pause_after_answer(httpx2.Response(503, headers={"Retry-After": "3600"})) == 5.0
        assert tries.pause_after_answer(response) is None
        with pytest.raises(httpx2.ConnectError):
            tries.pause_after_error(httpx2.ConnectError("refused"))


def test_enrolment_that_took_too_long_is_not_sent_again():
    with pytest.raises(httpx2.ReadTimeout):
        retries.Retries(calls.enroll("a", [b"x"])).pause_after_error(httpx2.ReadTimeout("slow"))


@both_clients
def test_sample_is_not_sent_on_to_where_an_answer_redirects(peer: Peer, ask: Ask):
    peer.status, peer.headers, peer.body = 307, {"Location": f"{peer.url}/elsewhere"}, b""
    with pytest.raises(ServiceUnreachableError, match="status 307"):
        ask(peer.url, "embed", [b"x"])
    assert [path for _, path, _ in peer.requests] == ["/v1/embed"]


@both_clients
def test_service_behind_a_path_and_a_name_in_its_address_gets_the_key(peer: Peer, ask: Ask):
    ask(peer.url.replace("//", "//name:password@") + "/below/", "models", api_key=KEY)
    assert peer.requests == [("GET", "/below/v1/models", f"Bearer {KEY}")]


@both_clients
def test_proxy_of_the_environment_is_asked_for_other_machines_and_never_for_this_one(
    peer: Peer, ask: Ask, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTP_PROXY", peer.url)
    ask("http://service.invalid:8000", "models", api_key=KEY)
    assert peer.requests == [("GET", "http://service.invalid:8000/v1/models", f"Bearer {KEY}")]
    for url in ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"):
        with pytest.raises(ServiceUnreachableError, match="does not answer"):
            ask(url, "models")
    monkeypatch.setenv("NO_PROXY", "service.invalid")
    with pytest.raises(ServiceUnreachableError, match="does not answer"):
        ask("http://service.invalid:8000", "models")
    assert len(peer.requests) == 1


@both_clients
@pytest.mark.parametrize("proxy", ["socks5://user:secret@127.0.0.1:1", "ftp://user:secret@127.0.0.1:1"])
def test_proxy_that_cannot_be_used_is_refused_and_not_shown(ask: Ask, proxy: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(SettingsError, match="proxy") as refused:
        ask("http://service.invalid", "models")
    assert "NO_PROXY" in refused.value.remedy
    assert "secret" not in str(refused.value)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.2 that nobody has signed, with its key in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("makes its certificate with openssl, which is not here")
    file = tmp_path / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-days",
        "2",
        "-subj",
        "/CN=test",
    ]
    names = ["-addext", "subjectAltName=IP:127.0.0.2", "-addext", "keyUsage=digitalSignature,keyCertSign"]
    subprocess.run([*command, *names, "-keyout", file, "-out", tmp_path / "own.pem"], check=True, capture_output=True)
    with file.open("ab") as both:
        both.write((tmp_path / "own.pem").read_bytes())
    return file


@both_clients
def test_service_is_asked_over_tls_only_where_its_certificate_is_trusted(
    ask: Ask, certificate: Path, monkeypatch: pytest.MonkeyPatch
):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    recorded = Peer()
    with listening(recorded, "127.0.0.2", tls):
        with pytest.raises(ServiceUnreachableError, match="No trusted TLS"):
            ask(recorded.url, "models", api_key=KEY)
        assert recorded.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        ask(recorded.url, "models", api_key=KEY)
    assert recorded.requests == [("GET", "/v1/models", f"Bearer {KEY}")]


def errors_of(ask: Ask, small_server: SmallServer, silent: str) -> Iterator[MatchkaError]:
    """Every way an answer can fail to come, each with a request that fails so."""
    for url, call, arguments, options in [
        ("http://127.0.0.1:1", "models", (), {}),
        ("http://127.0.0.1:1", "wait_until_ready", (0,), {}),
        (silent, "models", (), {"timeout_s": 0.1}),
        (small_server.url.replace("http://", "https://"), "models", (), {}),
        (f"{small_server.url}/v1", "models", (), {}),
        (f"{small_server.url}/healthz", "delete_subject", ("a",), {}),
        (small_server.url, "embed", ([sample(1)], "voice", 3), {}),
        (small_server.url, "embed", (["missing.wav"],), {}),
        (small_server.url, "embed", ([],), {}),
        ("ftp://a", "models", (), {}),
        ("http://a b", "models", (), {}),
        (small_server.url, "models", (), {"api_key": "two words"}),
    ]:
        with pytest.raises(MatchkaError) as failed:
            ask(url, call, *arguments, **options)
        yield failed.value


def test_errors_of_both_clients_are_the_same(small_server: SmallServer):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        silent = f"http://127.0.0.1:{listening.getsockname()[1]}"
        own, others = (list(errors_of(ask, small_server, silent)) for ask in (asked, asked_asynchronously))
    assert [(type(error), str(error)) for error in own] == [(type(error), str(error)) for error in others]
    assert len({str(error) for error in own}) == len(own)


@both_clients
def test_wait_for_a_service_that_is_not_ready_ends_with_the_time_and_not_before(peer: Peer, ask: Ask):
    problem = {"type": "about:blank", "title": "", "code": "not_ready", "detail": "", "value": None, "remedy": ""}
    peer.status, peer.body = 503, json.dumps(problem | {"status": 503}).encode()
    with pytest.raises(ServiceUnreachableError, match=r"not ready after 0\.3 s"):
        ask(peer.url, "wait_until_ready", 0.3)
    assert len(peer.requests) >= 2
    peer.requests.clear()
    peer.status, peer.body = 401, json.dumps(problem | {"status": 401, "code": "unauthorized"}).encode()
    with pytest.raises(RequestFailedError):  # waiting does not help
        ask(peer.url, "wait_until_ready", 60)
    assert len(peer.requests) == 1


def test_client_that_is_closed_is_done(peer: Peer):
    client = Client(peer.url)
    with client:
        client.models()
    with pytest.raises(RuntimeError, match="closed"):
        client.models()
    client.close()
