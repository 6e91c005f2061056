"""One account does its worst, and another is answered: a real server and real sockets. How fast is for make torture."""

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.factories.bundles import write_bundle
from tests.factories.raw_http import whole_answer
from tests.factories.samples import encoded, sample, voice
from tests.factories.server_process import RunningServer, start, stop

HONEST_REQUESTS = 20
UPLOADS = 130
MIB = 1 << 20
TIMEOUT_S = 120.0
ATTACKER = {"Authorization": "Bearer attacker"}
HEAD = (
    b"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer attacker\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: %d\r\n\r\n"
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("fairness")
    write_bundle(folder / "models" / "voice")
    running = start(folder / "models", folder / "data", None, True, {})
    yield running
    assert stop(running.process) == 0
    assert "Traceback" not in running.log.read_text()


def require_answers(server: RunningServer) -> None:
    """All requests of another account are answered, one after the other and two at a time."""

    def statuses(_caller: int) -> list[int]:
        return [
            requests.post(
                f"{server.url}/v1/embed",
                data={"model": "voice"},
                files={"file": ("a", sample(1))},
                headers={"Authorization": "Bearer honest"},
                timeout=TIMEOUT_S,
            ).status_code
            for _ in range(HONEST_REQUESTS)
        ]

    with ThreadPoolExecutor(2) as callers:
        assert list(callers.map(statuses, range(2))) == [[200] * HONEST_REQUESTS] * 2


@pytest.mark.parametrize(
    ("announced", "first", "let_in"),
    [(MIB, b"", 128), (16 * MIB, b"--x", 16)],  # as many as there are places, or as announce all the room for bodies
    ids=["silent", "three bytes"],
)
def test_uploads_that_hang_are_cut_and_leave_another_account_its_places(
    server: RunningServer, announced: int, first: bytes, let_in: int
):
    host, port = server.url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        hanging = []
        for _ in range(UPLOADS):
            connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=TIMEOUT_S))
            connection.sendall(HEAD % announced + first)
            hanging.append(connection)
        require_answers(server)
        answers = [whole_answer(connection) for connection in hanging]
    cut = [answer for answer in answers if b'"code":"upload_timeout"' in answer]
    assert len(cut) == let_in
    assert all(b"more slowly than 4 KiB a second" in answer for answer in cut)
    assert all(answer in cut or answer.startswith(b"HTTP/1.1 503") for answer in answers)


def test_requests_of_many_long_clips_leave_another_account_its_turns(server: RunningServer):
    long = encoded(voice(2, seconds=40.0), kind="OGG", subtype="VORBIS")
    files = [("file", ("a", long))] * 32
    with ThreadPoolExecutor(8) as attackers:
        attacks = [
            attackers.submit(
                requests.post,
                f"{server.url}/v1/embed",
                data={"model": "voice"},
                files=files,
                headers=ATTACKER,
                timeout=TIMEOUT_S,
            )
            for _ in range(8)
        ]
        require_answers(server)
        assert {attack.result().status_code for attack in attacks} <= {200, 503, 504}
