"""Every error a caller can meet, met over real HTTP: status, code, offending value and remedy."""

import asyncio
import contextlib
import json
import re
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from matchka import errors
from matchka.api.openapi import NOT_OF_A_CALL
from matchka.api.problems import STATUS_AND_CODE
from matchka.app import create_app, opened_verifier
from matchka.errors import MatchkaError
from matchka.modalities import MODALITIES
from matchka.settings import read_settings
from tests.factories.bundles import write_bundle
from tests.factories.samples import encoded, sample, voice
from tests.factories.small_server import SmallServer, serving, small_settings
from tests.factories.spoilt_graphs import make_fragile, make_zero

KEY = "0123456789abcdef0123"
TIMEOUT_S = 120


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """Two models, `voice` and `fragile`; `ada` is enrolled with voice, `old` with an older version of it."""
    folder = tmp_path_factory.mktemp("errors")
    write_bundle(folder / "older" / "voice", version="0.9.0")
    with opened_verifier(small_settings(folder, models_dir=folder / "older")) as older:
        older.load()
        older.enroll("default", "voice", "old", [sample(1)])
    write_bundle(folder / "models" / "voice")
    make_fragile(write_bundle(folder / "models" / "fragile", "fragile"))
    with serving(small_settings(folder, max_body_mib=6.0)) as running:
        running.client().enroll("ada", [sample(1)])
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """A server with a key, that lets in one request at a time."""
    folder = tmp_path_factory.mktemp("guarded")
    write_bundle(folder / "models" / "voice")
    with serving(small_settings(folder, api_key=KEY, max_in_flight=1)) as running:
        yield running


@dataclass(frozen=True)
class Case:
    """A request, and what its problem document must say."""

    error: type[MatchkaError]
    method: str
    path: str
    value: str | None = None
    fields: dict[str, str] | None = None
    files: list[tuple[str, tuple[str, bytes]]] | None = None
    headers: dict[str, str] | None = None
    body: bytes | None = None


def file(data: bytes, name: str = "file") -> tuple[str, tuple[str, bytes]]:
    return name, ("clip", data)


def embed(error: type[MatchkaError], data: bytes, value: str | None = None, **fields: str) -> Case:
    return Case(error, "POST", "/v1/embed", value, {"model": "voice", **fields}, [file(data)])


def verify(error: type[MatchkaError], value: str | None, **fields: str) -> Case:
    given = {"model": "voice", "subject_id": "ada", **fields}
    return Case(error, "POST", "/v1/verify", value, given, [file(sample(1))])


GOOD = sample(1)
NAN = voice(1)
NAN[100] = np.nan
FORM = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nvoice\r\n--x--\r\n'
CASES = [
    Case(
        errors.PositionError,
        "POST",
        "/v1/identify",
        "0f0f0f0f-007",
        {"model": "voice"},
        [file(GOOD)],
        headers={"Matchka-Position": "0f0f0f0f-007"},
    ),
    Case(errors.UnknownPathError, "GET", "/v1/nothing", "GET /v1/nothing"),
    Case(errors.MethodNotAllowedError, "POST", "/", "POST /"),
    Case(errors.MethodNotAllowedError, "GET", "/v1/embed", "GET /v1/embed"),
    Case(errors.MethodNotAllowedError, "PUT", "/v1/subjects/ada", "PUT /v1/subjects/ada"),
    Case(errors.UnknownPathError, "GET", "/v1/subjects/", "GET /v1/subjects/"),  # and no redirect
    Case(errors.ForbiddenHostError, "GET", "/v1/subjects", "evil.example", headers={"Host": "evil.example"}),
    Case(errors.CrossSiteError, "DELETE", "/v1/subjects/ada", "http://evil", headers={"Origin": "http://evil"}),
    Case(errors.UnsupportedContentTypeError, "POST", "/v1/embed", "no content type"),
    Case(
        errors.UnsupportedContentTypeError,
        "POST",
        "/v1/embed",
        "application/xml",
        headers={"Content-Type": "application/xml"},
        body=b"{}",
    ),
    Case(errors.MalformedFormError, "POST", "/v1/embed", headers={"Content-Type": "multipart/form-data"}, body=PART),
    Case(errors.MissingFieldError, "POST", "/v1/embed", "file", headers={"Content-Type": FORM}, body=PART),
    Case(errors.MissingFieldError, "POST", "/v1/embed", "model", {}, [file(GOOD)]),
    Case(errors.MissingFieldError, "POST", "/v1/compare", "file_b", {"model": "voice"}, [file(GOOD, "file_a")]),
    embed(errors.UnknownFieldError, GOOD, "subject_id", subject_id="ada"),
    Case(errors.UnknownFieldError, "GET", "/v1/subjects?page=2", "page"),
    Case(errors.UnknownFieldError, "POST", "/v1/embed?dim=2", "dim", {"model": "voice"}, [file(GOOD)]),
    embed(errors.InvalidFieldError, GOOD, "many", dim="many"),
    verify(errors.InvalidFieldError, "1.5", max_fmr="1.5"),
    Case(errors.InvalidFieldError, "GET", "/v1/subjects?limit=0", "0"),
    Case(errors.InvalidFieldError, "GET", "/v1/subjects?limit=1001", "1001"),
    Case(errors.InvalidFieldError, "GET", "/v1/subjects?cursor=%C3%A4", "ä"),
    Case(errors.InvalidFieldError, "GET", "/v1/subjects?cursor=_w==", "_w=="),
    Case(errors.TooManyFilesError, "POST", "/v1/embed", None, {"model": "voice"}, [file(b"x")] * 33),
    verify(errors.InvalidSubjectIdError, "a b", subject_id="a b"),
    Case(errors.InvalidSubjectIdError, "GET", "/v1/subjects/a%20b", "a b"),
    Case(errors.InvalidSubjectIdError, "DELETE", "/v1/subjects/" + "x" * 257),
    embed(errors.UntrainedDimError, GOOD, "3", dim="3"),
    verify(errors.UntrainedDimError, "16", dim="16"),
    embed(errors.EmptyFileError, b""),
    embed(errors.NotAudioError, b"\xff\xd8\xff\xe0 a photograph"),
    embed(errors.TruncatedFileError, GOOD[:-1000]),
    embed(errors.FormatNotEnabledError, b"\x1aE\xdf\xa3 a browser's recording", "webm"),
    embed(errors.NoSamplesError, encoded(np.zeros(0))),
    embed(errors.SilenceError, encoded(np.zeros(16000))),
    embed(errors.TooLittleSpeechError, sample(1, 0, 0.2)),
    embed(errors.NonFiniteSamplesError, encoded(NAN, subtype="FLOAT")),
    embed(errors.AudioTooLongError, encoded(np.zeros((61 * 16000,)) + 0.1, kind="FLAC")),
    embed(errors.UnsupportedSampleRateError, encoded(voice(1), 1000), "1000"),
    Case(
        errors.NonFiniteEmbeddingError,
        "POST",
        "/v1/embed",
        None,
        {"model": "fragile"},
        [file(encoded(0.99 * np.sin(np.arange(16000.0)), subtype="FLOAT"))],
    ),
    embed(errors.UnknownModelError, GOOD, "face", model="face"),
    verify(errors.UnknownSubjectError, "nobody", subject_id="nobody"),
    Case(errors.UnknownSubjectError, "GET", "/v1/subjects/nobody", "nobody"),
    Case(errors.UnknownSubjectError, "DELETE", "/v1/subjects/nobody", "nobody"),
    verify(errors.NotEnrolledError, "ada", model="fragile"),
    verify(errors.OtherVersionError, "old", subject_id="old"),
    Case(
        errors.DuplicateSampleError, "POST", "/v1/enroll", "ada", {"model": "voice", "subject_id": "ada"}, [file(GOOD)]
    ),
    Case(errors.UnknownTemplateError, "DELETE", "/v1/templates/0123", "0123"),
    Case(errors.UnknownTemplateError, "DELETE", "/v1/templates/" + "0" * 32, "0" * 32),
    Case(errors.UnknownTemplateError, "DELETE", "/v1/templates/%00", "\0"),
    Case(errors.UnknownTemplateError, "DELETE", "/v1/templates/" + "0" * 32 + "%0A", "0" * 32 + "\n"),
    Case(errors.UnknownTemplateError, "DELETE", "/v1/templates/%ED%A0%80", "\ufffd" * 3),
    Case(errors.UnknownKeyError, "DELETE", "/v1/keys/0123", "0123"),
    Case(errors.UnknownKeyError, "DELETE", "/v1/keys/%00", "\0"),
    Case(
        errors.InvalidFieldError,
        "POST",
        "/v1/keys",
        "everything",
        headers={"Content-Type": "application/json"},
        body=b'{"name": "a", "scopes": "everything"}',
    ),
    Case(errors.InvalidFieldError, "GET", "/v1/subjects?cursor=YQBi", "YQBi"),  # a NUL
    Case(errors.InvalidFieldError, "GET", "/v1/subjects?cursor=YQli", "YQli"),  # a tab
    Case(errors.InvalidFieldError, "GET", "/v1/subjects?cursor=7aCA", "7aCA"),  # half a surrogate pair
    Case(errors.InvalidFieldError, "GET", "/v1/subjects?cursor=%00", "\0"),
    Case(errors.InvalidSubjectIdError, "DELETE", "/v1/subjects/a%00b", "a\0b"),
    Case(errors.InvalidSubjectIdError, "GET", "/v1/subjects/%ED%A0%80", "\ufffd" * 3),
    verify(errors.InvalidSubjectIdError, "a\0b", subject_id="a\0b"),
    Case(errors.BodyTooLargeError, "POST", "/v1/embed", None, {"model": "voice"}, [file(bytes(7 << 20))]),
]
DOCUMENT = create_app(read_settings({})).openapi()
ELSEWHERE = {
    errors.VaultLockedError,  # tests/service/api/test_vault.py
    errors.UnauthorizedError,
    errors.OverloadedError,
    errors.NotReadyError,
    errors.DrainingError,  # tests/end_to_end/test_stopping.py
    errors.UploadTimeoutError,
    errors.ZeroVectorError,
    errors.OutOfMemoryError,  # tests/service/api/test_memory.py
    errors.OutputNotAvailableError,  # tests/service/tasks/test_outputs.py
    # tests/service/tasks/speech/test_speech.py
    errors.ChallengeNotRedeemableError,
    errors.TooManyChallengesError,
    errors.DurationMismatchError,
    errors.DistortedClipError,
    errors.EmptyTextError,
    errors.UnknownWordsError,
    # tests/service/api/test_rights.py
    errors.MissingScopeError,
    errors.CeilingError,
    errors.TooManyRequestsError,
    errors.TooManyAttemptsError,
    errors.QuotaReachedError,
    # tests/service/api/test_idempotency.py
    errors.IdempotencyKeyReusedError,
    errors.EnrolmentUndoneError,
    # tests/service/api/test_enrolment.py
    errors.AlreadyEnrolledError,
    errors.DiffersFromSubjectError,
    errors.SamplesDifferError,
    errors.LikelyDuplicateError,
    errors.UnknownDescriptorError,  # tests/service/tasks/parameters/test_parameters.py
    # tests/service/api/guards/test_hosts.py
    errors.InvalidHostError,
    # tests/end_to_end/test_not_speech.py
    errors.NoSpeechError,
    errors.ConsentRequiredError,  # tests/service/api/routes/test_subjects.py
    # tests/service/runtime/test_deadline.py and tests/service/inference/test_batcher.py
    errors.DeadlinePassedError,
    errors.ClientGoneError,
    # tests/service/store/sqlite/test_damage.py and tests/end_to_end/test_durability_storage.py
    errors.StorageFullError,
    errors.StorageDamagedError,
    errors.StorageFailedError,
    errors.GalleryStaleError,  # tests/service/api/test_position.py
    errors.GalleryUnavailableError,  # tests/service/tasks/embedding/following/test_shared_galleries.py
    # samples that are no clips: tests/service/modalities and tests/end_to_end
    *(kind for known in MODALITIES.values() if known.name != "audio" for kind in known.errors),
}


def test_cases_and_the_tests_below_meet_every_error_of_the_table():
    assert {case.error for case in CASES} | ELSEWHERE == set(STATUS_AND_CODE)


def check_problem(response: requests.Response, error: type[MatchkaError]) -> dict[str, Any]:
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["code"]) == STATUS_AND_CODE[error], problem
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["status"] == response.status_code
    assert problem["type"] == f"urn:matchka:problem:{problem['code']}"
    assert problem["remedy"].endswith(".")
    assert "Traceback" not in response.text
    return problem


def declared_codes(method: str, target: str, status: int) -> list[str]:
    """What the OpenAPI document says that a call may answer with a status."""
    for path, operations in DOCUMENT["paths"].items():
        if re.fullmatch(re.sub(r"{[a-z_]+}", "[^/]+", path), target.partition("?")[0]):
            answer = operations[method.lower()]["responses"][str(status)]
            codes: list[str] = answer["content"]["application/problem+json"]["schema"]["properties"]["code"]["enum"]
            return codes
    raise AssertionError(f"the document has no {target}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.error.__name__}-{case.method}")
def test_request_that_is_refused_is_answered_with_its_problem(server: SmallServer, case: Case):
    response = requests.request(
        case.method,
        server.url + case.path,
        data=case.body if case.fields is None else case.fields,
        files=case.files,
        headers=case.headers,
        timeout=TIMEOUT_S,
    )
    problem = check_problem(response, case.error)
    if case.error not in NOT_OF_A_CALL:
        assert problem["code"] in declared_codes(case.method, case.path, response.status_code)
    if case.value is not None:
        assert problem["value"] == case.value


def test_refused_requests_leave_nothing_enrolled(server: SmallServer):
    client = server.client()
    for data in (b"", b"no audio", GOOD[:-10]):
        with pytest.raises(errors.RequestFailedError):
            client.enroll("refused", [GOOD, data])
    assert [s.subject_id for s in client.subjects().subjects] == ["ada", "old"]


@pytest.mark.parametrize("header", [None, "Bearer wrong", f"Basic {KEY}", "Bearer"])
@pytest.mark.parametrize(
    "call", ["GET /v1/models", "GET /v1/subjects", "POST /v1/embed", "DELETE /v1/subjects/a", "GET /metrics"]
)
def test_request_without_the_key_is_unauthorized(guarded: SmallServer, header: str | None, call: str):
    method, path = call.split()
    headers = {"Authorization": header} if header else {}
    response = requests.request(method, guarded.url + path, headers=headers, timeout=TIMEOUT_S)
    check_problem(response, errors.UnauthorizedError)
    assert response.headers["www-authenticate"] == "Bearer"
    assert KEY not in response.text


def test_request_with_the_key_is_answered(guarded: SmallServer):
    assert [model.name for model in guarded.client(KEY).models().models] == ["voice"]


@contextlib.contextmanager
def hanging_request(url: str) -> Iterator[None]:
    """A request that has begun and does not end."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Type: {FORM}\r\n"
            "Content-Length: 1000\r\n\r\n".encode()
            + PART[:20]
        )
        yield


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_request_while_as_many_as_accepted_are_in_flight_is_overloaded_and_later_answered(guarded: SmallServer):
    def ask() -> requests.Response:
        return requests.get(f"{guarded.url}/v1/models", headers={"Authorization": f"Bearer {KEY}"}, timeout=TIMEOUT_S)

    with hanging_request(guarded.url):
        until(lambda: ask().status_code == 503)
        response = ask()
        check_problem(response, errors.OverloadedError)
        assert int(response.headers["retry-after"]) >= 1
        assert requests.get(f"{guarded.url}/healthz", timeout=TIMEOUT_S).json() == {"status": "alive"}
    until(lambda: ask().status_code == 200)  # a client that goes gives its place back


@pytest.mark.parametrize("path", ["/readyz", "/v1/models"])
def test_request_before_the_models_are_warm_is_not_ready(tmp_path: Path, path: str):
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "root_path": ""}
    scope["headers"] = [(b"host", b"localhost")]
    asyncio.run(create_app(small_settings(tmp_path))(scope, receive, send))  # its lifespan has not begun
    problem = json.loads(sent[1]["body"])
    assert (sent[0]["status"], problem["code"]) == STATUS_AND_CODE[errors.NotReadyError]
    assert b"retry-after" in dict(sent[0]["headers"])


def test_error_nobody_foresaw_is_answered_without_its_traceback(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    with serving(small_settings(tmp_path)) as running:
        with contextlib.closing(sqlite3.connect(running.settings.data_dir / "matchka.sqlite")) as connection:
            connection.execute("DROP TABLE templates")
        response = requests.get(f"{running.url}/v1/subjects", timeout=TIMEOUT_S)
        assert (response.status_code, response.json()["code"]) == (500, "internal_error")
        assert "templates" not in response.text
        assert "Traceback" not in response.text
        assert requests.get(f"{running.url}/readyz", timeout=TIMEOUT_S).status_code == 200


def test_body_that_does_not_arrive_in_time_is_refused(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    with serving(small_settings(tmp_path, max_upload_s=0.5)) as running:
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection:
            connection.sendall(
                b"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
                b"Content-Length: 1000\r\n\r\n--x"
            )
            answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b'"code":"upload_timeout"' in answer


def test_embedding_without_direction_is_refused_and_stores_nothing(tmp_path: Path):
    make_zero(write_bundle(tmp_path / "models" / "voice"))
    with serving(small_settings(tmp_path)) as running:
        response = requests.post(
            f"{running.url}/v1/enroll",
            data={"model": "voice", "subject_id": "nobody"},
            files={"file": ("a", sample(1))},
            timeout=TIMEOUT_S,
        )
        check_problem(response, errors.ZeroVectorError)
        assert running.client().subjects().subjects == []
