"""Clients that hang, say nothing, leave or lie, on real sockets of a real server: all others are served."""

import contextlib
import http.client
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from loadtests.server import free_port
from matchka.api.guards.auth import MOST_WAITING_OF_ONE
from matchka.api.guards.failed_keys import FREE, INTERVAL_S
from tests.factories.bundles import write_bundle
from tests.factories.raw_http import whole_answer
from tests.factories.samples import encoded, sample, voice
from tests.factories.server_process import RunningServer, start, stop
from tests.factories.slow_embedding import embedding_of
from tests.factories.spoilt_graphs import make_fragile

IDLE_S = 2.0  # time that the server gives a connection to begin a request
TIMEOUT_S = 60.0
SILENT_CONNECTIONS = 1000
FORM = b"multipart/form-data; boundary=x"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Two models: `voice`, and `fragile`, whose graph returns NaN for clips at full scale."""
    folder = tmp_path_factory.mktemp("hostile")
    write_bundle(folder / "models" / "voice")
    make_fragile(write_bundle(folder / "models" / "fragile", "fragile"))
    running = start(folder / "models", folder / "data", None, True, {"MATCHKA_MAX_IDLE_S": str(IDLE_S)})
    yield running
    assert stop(running.process) == 0
    assert "Traceback" not in running.log.read_text()


def connect_to(server: RunningServer) -> tuple[str, int]:
    host, port = server.url.removeprefix("http://").split(":")
    return host, int(port)


def connect(server: RunningServer) -> socket.socket:
    return socket.create_connection(connect_to(server), timeout=TIMEOUT_S)


def closed_by_server(connection: socket.socket) -> bool:
    """Wait until the server closes a connection; whatever it says before is read."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def embed(server: RunningServer, person: int, model: str = "voice") -> requests.Response:
    return requests.post(
        f"{server.url}/v1/embed", data={"model": model}, files={"file": ("a", sample(person))}, timeout=TIMEOUT_S
    )


def require_answer(server: RunningServer, person: int) -> None:
    answer = embed(server, person)
    assert answer.status_code == 200, answer.text
    np.testing.assert_allclose(answer.json()["embeddings"][0], embedding_of(voice(person)), atol=1e-5)


def form_head(length: int) -> bytes:
    return b"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (
        FORM,
        length,
    )


def test_thousand_silent_connections_are_closed_and_others_are_served_beside_them(server: RunningServer):
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connect(server)) for _ in range(SILENT_CONNECTIONS)]
        for person in range(5):
            require_answer(server, person)
        assert requests.get(f"{server.url}/readyz", timeout=TIMEOUT_S).status_code == 200
        assert all(closed_by_server(connection) for connection in silent)


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", b"X-Slow: 1\r\n"),
        (b"GET /hea", b"l"),
        (
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n",
            b"X-Slow: 1\r\n",
        ),
    ],
    ids=["header after header", "letter after letter", "the second request"],
)
def test_head_that_comes_drop_by_drop_is_not_waited_for(server: RunningServer, first: bytes, more: bytes):
    with connect(server) as connection:
        connection.sendall(first)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < TIMEOUT_S:
                connection.sendall(more)
                time.sleep(0.1)
        assert IDLE_S / 2 < time.monotonic() - began < TIMEOUT_S
    require_answer(server, 1)


def test_connection_that_is_used_again_and_again_is_never_closed(server: RunningServer):
    """Each request is short, so that whoever looks at the connection nearly always finds it without one."""
    connection = http.client.HTTPConnection(*connect_to(server), timeout=TIMEOUT_S)
    connection.connect()
    first = connection.sock
    began = time.monotonic()
    while time.monotonic() - began < 3 * IDLE_S:
        connection.request("GET", "/healthz")
        assert json.loads(connection.getresponse().read()) == {"status": "alive"}
        assert connection.sock is first, "it was opened anew"
        time.sleep(IDLE_S / 20)
    connection.close()


@pytest.mark.parametrize("header", [b"X-Long: " + b"x" * 100_000, b"X: y\r\n" * 20_000 + b"X: y"])
def test_head_that_is_too_large_is_refused_when_it_comes_in_one_piece(server: RunningServer, header: bytes):
    with connect(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % header)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400")
    require_answer(server, 1)


def test_every_answer_is_kept_by_nobody_and_is_what_it_says(server: RunningServer):
    answers = [
        requests.get(f"{server.url}{path}", headers=headers, timeout=TIMEOUT_S)
        for path, headers in (
            ("/healthz", {}),
            ("/v1/subjects", {}),
            ("/v1/subjects/", {}),
            ("/v1/subjects", {"Host": "evil.example"}),
            ("/healthz", {"X-Long": "x" * 70_000}),
        )
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 403, 400]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_head_without_end_is_refused(server: RunningServer):
    sent = 0
    with connect(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        with contextlib.suppress(ConnectionError):
            while sent < 1 << 26:
                connection.sendall(bytes(65536).replace(b"\0", b"x"))
                sent += 65536
    assert sent < 1 << 24, "it was read on and on"
    require_answer(server, 1)


CHUNKED = b"POST %b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Type: %b\r\n\r\n"
LINES = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 2000) for number in range(32))


@pytest.mark.parametrize("path", [b"/v1/embed", b"/healthz"])
@pytest.mark.parametrize("block", [LINES, b"x" * 65536], ids=["many trailers", "one without end"])
def test_trailers_without_end_are_refused(server: RunningServer, path: bytes, block: bytes):
    sent = 0
    with connect(server) as connection:
        connection.sendall(CHUNKED % (path, FORM) + b"0\r\n" + (b"" if block is LINES else b"X-Long: "))
        with contextlib.suppress(ConnectionError):
            while sent < 1 << 26:
                connection.sendall(block)
                sent += len(block)
    assert sent < 1 << 24, "they were read on and on"
    require_answer(server, 1)


def test_body_of_many_chunks_with_trailers_is_answered(server: RunningServer):
    """Far more bytes than a head may have, in chunks whose lengths come at the ends of pieces."""
    head, _, body = body_of(1).partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
    message = b"\r\n".join([*lines, b"Transfer-Encoding: chunked\r\n\r\n"])
    with connect(server) as connection:
        connection.sendall(message)
        for start in range(0, len(body), 1000):
            chunk = body[start : start + 1000]
            connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        trailers = b"X-Last: %b\r\n" % (b"a" * 20_000)
        connection.sendall(b"0\r\n" + trailers + b"Host: evil.example\r\n\r\n")
        answer = whole_answer(connection)
    assert answer.startswith(b"HTTP/1.1 200"), answer[:200]


def slow_connection(server: RunningServer, buffer_bytes: int) -> socket.socket:
    """A connection whose own system keeps few bytes that were not read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    connection.settimeout(TIMEOUT_S)
    connection.connect(connect_to(server))
    return connection


def test_client_that_takes_no_answers_is_let_go(server: RunningServer):
    """Its answers are more than the system keeps for it, so the server is left with the rest of them."""
    with connect(server) as connection:
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)
        require_answer(server, 1)
        assert is_let_go(connection), "the connection is still there"
    require_answer(server, 1)


def test_client_that_takes_its_answers_slowly_gets_all_of_them(server: RunningServer):
    """Of more than the system keeps for it, a little at a time for longer than it may take nothing; then the rest."""
    with slow_connection(server, 1 << 16) as connection:
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 199)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        begun, taken = time.monotonic(), bytearray()
        while time.monotonic() < begun + 4 * IDLE_S:
            taken += connection.recv(1 << 15)
            time.sleep(0.2)
        while part := connection.recv(1 << 16):
            taken += part
    assert taken.count(b"HTTP/1.1 200 OK\r\n") == 200
    assert taken.endswith(b'{"status":"alive"}')


def test_client_that_takes_one_long_answer_slowly_gets_all_of_it(server: RunningServer):
    """The server has handed it over long before, and waits for no more of this client."""
    files = [("file", ("a", sample(1)))] * 32
    request = requests.Request("POST", f"{server.url}/v1/embed", data={"model": "voice"}, files=files).prepare()
    with slow_connection(server, 1 << 12) as connection:
        head = "POST /v1/embed HTTP/1.1\r\nHost: localhost\r\n" + "".join(
            f"{k}: {v}\r\n" for k, v in request.headers.items()
        )
        connection.sendall(head.encode() + b"\r\n" + bytes(request.body or b""))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        length, taken = int(answer.headers["content-length"]), bytearray()
        while len(taken) < length and (part := answer.read1(max(1, length // 30))):
            taken += part
            time.sleep(4 * IDLE_S / 30)
    assert len(json.loads(taken)["embeddings"]) == 32


def is_let_go(connection: socket.socket) -> bool:
    """Whether the server gives a connection up, which shows when something more is sent."""
    connection.setblocking(False)
    errors = select.poll()
    errors.register(connection, 0)  # what is wrong is told whatever is asked for
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            connection.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        except BlockingIOError:
            pass  # not taken, and not refused yet
        except ConnectionError:
            return True
        if errors.poll(100):
            return True
    return False


def test_client_that_hangs_within_its_upload_holds_up_nobody(server: RunningServer):
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            hanging = stack.enter_context(connect(server))
            hanging.sendall(form_head(100_000) + b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nvo')
        for person in range(5):
            require_answer(server, person)
        assert requests.get(f"{server.url}/healthz", timeout=TIMEOUT_S).json() == {"status": "alive"}
    require_answer(server, 6)


def at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Call from many threads that begin together."""
    barrier = threading.Barrier(count)

    def one(number: int) -> Any:
        barrier.wait(TIMEOUT_S)
        return call(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def body_of(person: int, model: str = "voice") -> bytes:
    request = requests.Request(
        "POST", "http://x/v1/embed", data={"model": model}, files={"file": ("a", sample(person))}
    ).prepare()
    head = "POST /v1/embed HTTP/1.1\r\nHost: localhost\r\n" + "".join(
        f"{k}: {v}\r\n" for k, v in request.headers.items()
    )
    return head.encode() + b"\r\n" + bytes(request.body or b"")


def test_clients_that_leave_while_their_batch_runs_change_nothing_for_the_others(server: RunningServer):
    def leave(person: int) -> None:
        with connect(server) as connection:
            connection.sendall(body_of(person))
            # closed with a reset, at once, so that the server learns of it in the middle of the work
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def call(person: int) -> requests.Response | None:
        return leave(person) if person % 3 == 0 else embed(server, person)

    for _ in range(3):
        for person, answer in enumerate(at_once(24, call)):
            if answer is not None:
                assert answer.status_code == 200, answer.text
                np.testing.assert_allclose(answer.json()["embeddings"][0], embedding_of(voice(person)), atol=1e-5)
    assert 'status="500"' not in requests.get(f"{server.url}/metrics", timeout=TIMEOUT_S).text


BAD = {
    "no audio": (b"this is no audio " * 100, "not_audio"),
    "not a number": (encoded(np.where(np.arange(16000) == 9, np.nan, voice(1)), subtype="FLOAT"), "non_finite_samples"),
    "NaN of the graph": (encoded(0.99 * np.sin(np.arange(16000.0)), subtype="FLOAT"), "non_finite_embedding"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_among_31_good_ones_at_the_same_moment_fails_alone(server: RunningServer, name: str):
    data, code = BAD[name]

    def call(number: int) -> requests.Response:
        if number == 17:
            return requests.post(
                f"{server.url}/v1/embed", data={"model": "fragile"}, files={"file": ("a", data)}, timeout=TIMEOUT_S
            )
        return embed(server, number, "fragile")

    for _ in range(3):
        answers = at_once(32, call)
        poisoned = answers.pop(17)
        assert (poisoned.status_code, poisoned.json()["code"]) == (422, code)
        assert [answer.status_code for answer in answers] == [200] * 31
        people = [person for person in range(32) if person != 17]
        for person, answer in zip(people, answers, strict=True):
            alone = embed(server, person, "fragile").json()["embeddings"][0] if person < 4 else None
            together = answer.json()["embeddings"][0]
            np.testing.assert_allclose(together, embedding_of(voice(person)), atol=1e-5)
            if alone is not None:
                np.testing.assert_allclose(together, alone, atol=1e-5)


def test_bytes_that_are_no_http_are_refused_without_harm(server: RunningServer):
    rng = np.random.default_rng(1)
    for seed in range(20):
        with connect(server) as connection, contextlib.suppress(ConnectionError):
            connection.sendall(rng.bytes(200 + 50 * seed) + b"\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536)
            assert not answer or answer.startswith(b"HTTP/1.1 400")
    require_answer(server, 1)


def test_problem_of_a_request_refused_while_its_body_is_sent_reaches_the_client(server: RunningServer):
    """The refusal comes before the body has ended; the client sends on and reads it afterwards."""
    with connect(server) as connection:
        connection.sendall(b"POST /v1/embed?stray=1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: %b\r\n" % FORM)
        connection.sendall(b"Content-Length: 4000000\r\n\r\n")
        for _ in range(4):
            connection.sendall(bytes(1_000_000))
            time.sleep(0.05)
        answer = whole_answer(connection)
    assert answer.startswith(b"HTTP/1.1 422"), answer[:200]
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["code"] == "unknown_field"


@contextlib.contextmanager
def running(folder: Path, **variables: str) -> Iterator[RunningServer]:
    """A server of its own settings, which ends well."""
    write_bundle(folder / "models" / "voice")
    server = start(folder / "models", folder / "data", None, True, variables)
    try:
        yield server
    finally:
        status = stop(server.process)
    assert status == 0
    assert "Traceback" not in server.log.read_text()


LINGERING = 150
KEY = "0123456789abcdef0123"


def test_callers_without_a_key_that_announce_bodies_and_send_none_take_nothing_from_others(tmp_path: Path):
    """More of them than places in flight, and more bytes than all bodies may have."""

    def linger(server: RunningServer, number: int) -> socket.socket:
        connection = connect(server)
        wrong = b"Authorization: Bearer wrong\r\nHost:" if number % 2 else b"Host:"
        connection.sendall(form_head(99_999_999).replace(b"Host:", wrong))
        return connection

    with running(tmp_path, MATCHKA_API_KEY=KEY) as server, requests.Session() as keyed, contextlib.ExitStack() as stack:
        keyed.headers["Authorization"] = f"Bearer {KEY}"
        lingering = [stack.enter_context(linger(server, number)) for number in range(LINGERING)]
        for person in range(30):
            answer = keyed.post(
                f"{server.url}/v1/embed",
                data={"model": "voice"},
                files={"file": ("a", sample(person))},
                timeout=TIMEOUT_S,
            )
            assert answer.status_code == 200, answer.text
        assert requests.get(f"{server.url}/readyz", timeout=TIMEOUT_S).status_code == 200
        answers = [answer_or_nothing(connection) for connection in lingering]
        assert all(answer.startswith(b"HTTP/1.1 401") for answer in answers if answer)
        assert len([answer for answer in answers if answer]) >= FREE, "beyond its share they get no answer"
        assert all(closed_by_server(connection) for connection in lingering)
    assert server.log.read_text().count("requests without a valid key from 127.0.0.1") == 1


def answer_or_nothing(connection: socket.socket) -> bytes:
    with contextlib.suppress(ConnectionError):
        return whole_answer(connection)
    return b""


def keyed_models(server: RunningServer) -> int:
    """A request with the key, on a connection of its own."""
    return requests.get(
        f"{server.url}/v1/models", headers={"Authorization": f"Bearer {KEY}"}, timeout=TIMEOUT_S
    ).status_code


def from_address(server: RunningServer, address: str) -> socket.socket:
    connection = socket.create_connection(connect_to(server), timeout=TIMEOUT_S, source_address=(address, 0))
    connection.settimeout(TIMEOUT_S)
    return connection


WRONG = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\n\r\n"


def test_wrong_keys_on_many_connections_are_not_answered_faster_than_on_one(tmp_path: Path):
    with running(tmp_path, MATCHKA_API_KEY=KEY) as server:
        answers: list[bytes] = []
        began = time.monotonic()
        end = began + 3.0

        def guess(_number: int) -> None:
            while time.monotonic() < end:
                with connect(server) as connection:
                    connection.sendall(WRONG)
                    answers.append(answer_or_nothing(connection))

        with ThreadPoolExecutor(60) as pool:
            guesses = [pool.submit(guess, number) for number in range(60)]
            assert [keyed_models(server) for _ in range(20)] == [200] * 20
            with from_address(server, "127.0.0.2") as other:
                other.sendall(WRONG)
                assert whole_answer(other).startswith(b"HTTP/1.1 401"), "one address took the places of all"
            assert all(one.result() is None for one in guesses)
        seconds = time.monotonic() - began
        answered = sum(map(bool, answers))
        assert FREE <= answered <= FREE + seconds / INTERVAL_S + MOST_WAITING_OF_ONE, f"of {len(answers)}"


def answer_to(server: RunningServer, request: bytes) -> tuple[bytes, bytes]:
    """Status and body."""
    with connect(server) as connection:
        connection.sendall(request)
        head, _, body = whole_answer(connection).partition(b"\r\n\r\n")
    return head[9:12], body


UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def test_request_for_a_websocket_passes_the_guards_like_any_other(server: RunningServer):
    status, body = answer_to(server, b"GET /v1/subjects HTTP/1.1\r\nHost: evil.example\r\n" + UPGRADE + b"\r\n")
    assert (status, b"forbidden_host" in body) == (b"403", True)


@pytest.mark.parametrize("is_trusted", [False, True])
def test_forwarded_address_is_believed_of_a_trusted_proxy_only(tmp_path: Path, is_trusted: bool):
    variables = {"MATCHKA_TRUSTED_PROXIES": "127.0.0.1"} if is_trusted else {}
    with running(tmp_path, MATCHKA_API_KEY=KEY, **variables) as server, requests.Session() as session:
        began = time.monotonic()
        for number in range(FREE + 5):
            headers = {"Authorization": "Bearer wrong", "X-Forwarded-For": f"junk, 192.0.2.{number}"}
            answer = session.get(f"{server.url}/v1/models", headers=headers, timeout=TIMEOUT_S)
            assert answer.status_code == 401
        assert is_trusted or time.monotonic() - began > 4 * INTERVAL_S, "another address, another start"
        log = server.log.read_text()
    assert log.count("requests without a valid key from 192.0.2.") == (FREE + 5 if is_trusted else 0)
    assert "junk" not in log


def test_refused_requests_that_stay_make_room_for_callers_with_the_key(tmp_path: Path):
    """Each from an address of its own, so that none is slowed: all places would be theirs for 5 s."""
    variables = {"MATCHKA_API_KEY": KEY, "MATCHKA_MAX_CONNECTIONS": "40"}
    with running(tmp_path, **variables) as server, contextlib.ExitStack() as stack:
        for number in range(100):
            connection = stack.enter_context(from_address(server, f"127.0.1.{number}"))
            connection.sendall(form_head(99_999_999))
        time.sleep(0.5)
        assert [keyed_models(server) for _ in range(20)] == [200] * 20


def test_idle_connections_that_were_never_authorised_make_room_before_those_that_were(tmp_path: Path):
    with (
        running(tmp_path, MATCHKA_API_KEY=KEY, MATCHKA_MAX_CONNECTIONS="20") as server,
        contextlib.ExitStack() as stack,
    ):
        kept = [http.client.HTTPConnection(*connect_to(server), timeout=TIMEOUT_S) for _ in range(5)]
        for connection in kept:
            stack.callback(connection.close)
            connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {KEY}"})
            assert connection.getresponse().read()
        first = [connection.sock for connection in kept]
        for _ in range(3):
            time.sleep(1.2)
            for _ in range(30):
                stack.enter_context(connect(server))
                time.sleep(0.02)
            for connection in kept:
                connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {KEY}"})
                assert json.loads(connection.getresponse().read())
        assert [connection.sock for connection in kept] == first, "they were opened anew"


def test_connections_turned_away_that_are_reset_at_once_leave_nothing_behind(tmp_path: Path):
    with running(tmp_path, MATCHKA_MAX_CONNECTIONS="2") as server, contextlib.ExitStack() as stack:
        time.sleep(1.5)
        for _ in range(2):
            stack.enter_context(connect(server)).sendall(form_head(1000) + b"--x")
        for _ in range(500):
            with connect(server) as connection:
                connection.sendall(b"GET /v1/subjects HTTP/1.1\r\nHost: localhost\r\n\r\n")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with connect(server) as last:  # accepted after all of them
            assert whole_answer(last).startswith(b"HTTP/1.1 503")
        stack.close()
        wait_until_answered(server)
        served = requests.get(f"{server.url}/metrics", timeout=TIMEOUT_S).text
        assert 'path="/v1/subjects"' not in served, "a request beyond the bound was served"


def test_connections_beyond_the_bound_are_told_so_and_silent_ones_make_room(tmp_path: Path):
    with running(tmp_path, MATCHKA_MAX_CONNECTIONS="5") as server, contextlib.ExitStack() as stack:
        time.sleep(1.5)  # for the connection that asked whether it is ready to count as silent
        working = [stack.enter_context(connect(server)) for _ in range(5)]
        for connection in working:
            connection.sendall(form_head(1000) + b"--x")
        time.sleep(1.5)  # these are not silent, however long they take
        with connect(server) as beyond:
            beyond.sendall(form_head(300_000) + bytes(300_000))
            answer = whole_answer(beyond)
        assert answer.startswith(b"HTTP/1.1 503"), answer
        assert b"\r\nretry-after: 1\r\n" in answer
        assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["code"] == "overloaded"
        stack.close()
        wait_until_answered(server)
        silent = [stack.enter_context(connect(server)) for _ in range(5)]
        wait_until_answered(server)
        assert closed_by_server(silent[0])


def wait_until_answered(server: RunningServer) -> None:
    """Ask until there is room again: a connection counts as silent, or as gone, a moment after it is."""
    deadline = time.monotonic() + TIMEOUT_S
    while embed(server, 1).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_health_listener_answers_health_and_nothing_else(tmp_path: Path):
    port = free_port()
    beside, key = f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {KEY}"}
    with running(tmp_path, MATCHKA_API_KEY=KEY, MATCHKA_HEALTH_PORT=str(port)) as server:
        for url in (server.url, beside):
            assert requests.get(f"{url}/healthz", timeout=TIMEOUT_S).json() == {"status": "alive"}
            assert requests.get(f"{url}/readyz", timeout=TIMEOUT_S).json()["status"] == "ready"
            assert requests.get(f"{url}/metrics", timeout=TIMEOUT_S).status_code == 401
            metrics = requests.get(f"{url}/metrics", headers=key, timeout=TIMEOUT_S)
            assert 'matchka_requests_total{path="/readyz",status="200"}' in metrics.text
        for path in ("/v1/models", "/docs", "/openapi.json"):
            assert requests.get(beside + path, headers=key, timeout=TIMEOUT_S).status_code == 404
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{beside}/healthz", timeout=TIMEOUT_S)


def test_health_port_that_is_taken_is_said_before_anything_is_loaded(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    port = free_port()
    server = start(tmp_path / "models", tmp_path / "data", port, False, {"MATCHKA_HEALTH_PORT": str(port)})
    assert server.process.wait(TIMEOUT_S) == 2
    assert f"127.0.0.1:{port}" in server.log.read_text()
