"""The log of a served process: JSON, every line of it, and nobody is in it."""

import json
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.factories.bundles import write_bundle
from tests.factories.samples import sample
from tests.factories.server_process import RunningServer, start, stop

pytestmark = pytest.mark.slow
WHO, SAID, WHY = "telltale-subject-7391", "telltale-metadata-5517", "telltale-purpose-2264"
TIMEOUT_S = 120


def call(server: RunningServer, method: str, path: str, status: int, **more: Any) -> requests.Response:
    answer = requests.request(method, server.url + path, timeout=TIMEOUT_S, **more)
    assert answer.status_code == status, answer.text
    return answer


def form(*files: bytes, **fields: str) -> dict[str, Any]:
    texts = [(name, (None, value)) for name, value in fields.items()]
    return {"files": [*texts, *(("file", (WHO, data)) for data in files)]}


def enrol(server: RunningServer, *files: bytes, status: int, subject: str = WHO) -> requests.Response:
    said = {"metadata": json.dumps({"note": SAID}), "purpose": WHY, "consent": "telltale-consent"}
    return call(server, "POST", "/v1/enroll", status, **form(*files, model="voice", subject_id=subject, **said))


def verify(server: RunningServer, data: bytes, status: int, subject: str = WHO, **more: str) -> requests.Response:
    return call(server, "POST", "/v1/verify", status, **form(data, model="voice", subject_id=subject, **more))


def test_json_log_of_a_service_that_fails_in_every_way_holds_no_subject_no_metadata_and_no_vector(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    settings = {"MATCHKA_LOG_FORMAT": "json", "MATCHKA_LOG_LEVEL": "debug"}
    server = start(tmp_path / "models", tmp_path / "data", variables=settings)
    try:
        enrol(server, sample(1), sample(1, 1), status=201)
        enrol(server, sample(1), status=409)
        enrol(server, b"no audio", status=422, subject=f"{WHO}-b")
        enrol(server, sample(1), status=422, subject=f"{WHO} with a space")
        verify(server, sample(1, 2), 200)
        verify(server, sample(3), 200)
        verify(server, sample(1, 2), 404, subject=f"{WHO}-nobody")
        verify(server, sample(1, 2), 422, dim=f"{WHO}")
        embedded = call(server, "POST", "/v1/embed", 200, **form(sample(1), model="voice")).json()["embeddings"][0]
        call(server, "POST", "/v1/identify", 200, **form(sample(1, 3), model="voice"))
        call(server, "GET", f"/v1/subjects/{WHO}", 200)
        call(server, "GET", f"/v1/subjects/{WHO}/export", 200)
        call(server, "PATCH", f"/v1/subjects/{WHO}", 200, json={"metadata": {"note": SAID}})
        call(server, "GET", f"/v1/nothing/{WHO}", 404)
        malformed(server, f"GET /v1/subjects/{WHO} HTTP/9.9 {SAID}\r\n\r\n")
        malformed(server, f"GET / HTTP/1.1\r\n{WHO}\r\n\r\n")
        database(tmp_path, "UPDATE subject_references SET embedding = x'00'")
        broken = verify(server, sample(1, 2), 503)
        database(tmp_path, "ALTER TABLE templates RENAME TO hidden")
        failed = enrol(server, sample(4), status=500, subject=f"{WHO}-c")
    finally:
        assert stop(server.process) == 0
    log = server.log.read_text(encoding="utf-8")
    found = [json.loads(line) for line in log.splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*(set(line) for line in found))
    (damaged,), (unexpected,) = (errors_of(found, answer) for answer in (broken, failed))
    assert "damaged" in damaged["message"]
    assert unexpected["exception"][-1]["frames"]
    assert any(line["logger"].startswith("uvicorn") for line in found)
    for secret in ("telltale", *(f"{value:.5f}" for value in embedded if abs(value) > 0.1)):
        assert secret not in log


def test_json_log_of_a_service_that_cannot_start_is_json_to_its_end(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    settings = {"MATCHKA_LOG_FORMAT": "json", "MATCHKA_MODELS": "nose"}
    server = start(tmp_path / "models", tmp_path / "data", wait=False, variables=settings)
    assert server.process.wait(TIMEOUT_S) == 2
    *_, last = [json.loads(line) for line in server.log.read_text(encoding="utf-8").splitlines()]
    assert last["level"] == "critical"
    assert "no bundle of a model that is to be served" in last["message"]


def errors_of(found: list[dict[str, Any]], answer: requests.Response) -> list[dict[str, Any]]:
    """What is said of a request as an error."""
    of_request = [line for line in found if line.get("request_id") == answer.headers["X-Request-ID"]]
    return [line for line in of_request if line["level"] == "error"]


def malformed(server: RunningServer, request: str) -> None:
    """Send what is no HTTP, and read to the end."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), TIMEOUT_S) as connection:
        connection.sendall(request.encode())
        while connection.recv(4096):
            pass


def database(folder: Path, statement: str) -> None:
    """Change the service's tables below it."""
    with closing(sqlite3.connect(folder / "data" / "matchka.sqlite")) as connection, connection:
        connection.execute(statement)
