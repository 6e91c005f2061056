"""A real server that is killed between the commit of an enrolment and its answer; then the enrolment is sent again."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from loadtests.server import HOST, ServerProcess, free_port, start_server
from matchka.client import Client
from tests.factories.bundles import write_bundle
from tests.factories.databases import UnderTest
from tests.factories.samples import sample
from tests.factories.server_process import wait_until_ready

KEY = "0123456789abcdef"
TIMEOUT_S = 120.0

pytestmark = pytest.mark.slow


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def enrolment(url: str, file: bytes) -> requests.PreparedRequest:
    return requests.Request(
        "POST",
        f"{url}/v1/enroll",
        headers={"Idempotency-Key": KEY},
        data={"model": "voice", "subject_id": "ada"},
        files={"file": ("a", file)},
    ).prepare()


def send_unheard(server: ServerProcess, request: requests.PreparedRequest) -> socket.socket:
    """Send a request on a connection from which nobody reads."""
    head = f"POST {request.path_url} HTTP/1.1\r\nHost: localhost\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    connection = socket.create_connection((HOST, server.port), TIMEOUT_S)
    assert isinstance(request.body, bytes)
    connection.sendall(head.encode() + b"\r\n" + request.body)
    return connection


def test_enrolment_whose_server_was_killed_after_the_commit_is_answered_by_another_and_stored_once(
    tmp_path: Path, database: UnderTest
):
    write_bundle(tmp_path / "models" / "voice")
    hash_key = tmp_path / "subject-hash.key"

    def started(name: str) -> ServerProcess:
        return start_server(
            free_port(),
            tmp_path / name / "data",
            tmp_path / "models",
            tmp_path / f"{name}.log",
            database_url=database.url,
            subject_hash_key_file=hash_key,
        )

    def stored() -> list[tuple[object, ...]]:
        return database.rows("SELECT template_id FROM templates")

    file = sample(1)
    first = started("first")
    try:
        wait_until_ready(first)
        request = enrolment(first.url, file)
        with send_unheard(first, request):
            wait_until(lambda: bool(stored()))
            first.kill()
    finally:
        first.end()
    ((template_id,),) = stored()
    second = started("second")
    try:
        wait_until_ready(second)
        request.url = enrolment(second.url, file).url
        answer = requests.Session().send(request, timeout=TIMEOUT_S)
        assert answer.status_code == 201, answer.text
        assert answer.headers["Idempotency-Replayed"] == "true"
        assert answer.json()["template_ids"] == [template_id]
        assert stored() == [(template_id,)]
        with Client(second.url) as client:
            assert client.verify("ada", file).match
    finally:
        second.end()
