"""Bad input gets a clear 4xx with its own code and a remedy, never a 500, and stores nothing."""

import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests.factories.raw_http import whole_answer
from tests.factories.samples import encoded
from tests.factories.server_process import RunningServer

MIB = 1 << 20
Post = Callable[..., requests.Response]


@pytest.fixture(scope="module")
def good(voice_samples: Path) -> bytes:
    return (voice_samples / "cards" / "001.wav").read_bytes()


@pytest.fixture(scope="module")
def post(server: RunningServer) -> Post:
    def send(call: str, data: dict[str, Any] | None = None, files: Any = None, **options: Any) -> requests.Response:
        return requests.post(f"{server.url}/v1/{call}", data=data, files=files, timeout=120, **options)

    return send


encode = partial(encoded, subtype="FLOAT")


def noise(seconds: float, rate_hz: int = 16000) -> np.ndarray:
    return np.random.default_rng(7).normal(0, 0.1, int(seconds * rate_hz)).astype(np.float32)


def require_problem(response: requests.Response, status: int, code: str) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["code"]) == (status, code), problem
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["remedy"]
    assert len(response.content) < 2000, "a long value must not be echoed whole"
    return problem


BAD_CLIPS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "empty_file"),
    "text": (lambda _: b"hello " * 500, "not_audio"),
    "jpeg": (lambda _: b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(3000), "not_audio"),
    "random": (lambda _: np.random.default_rng(1).bytes(4000), "not_audio"),
    "truncated wav": (lambda good: good[: len(good) // 2], "truncated_file"),
    "truncated flac": (lambda _: encode(noise(3), kind="FLAC", subtype="PCM_16")[:20_000], "truncated_file"),
    "truncated opus": (lambda _: encode(noise(3), kind="OGG", subtype="OPUS")[:5_000], "truncated_file"),
    "truncated mp3": (lambda _: encode(noise(3), kind="MP3", subtype="MPEG_LAYER_III")[:5_000], "truncated_file"),
    "no samples": (lambda _: encode(np.zeros(0, np.float32)), "no_samples"),
    "digital silence": (lambda _: encode(np.zeros(32000, np.float32)), "silence"),
    "muted": (lambda _: encode(noise(2) * 1e-4), "silence"),
    "too short": (lambda _: encode(noise(0.4)), "too_little_speech"),
    "short word in a pause": (
        lambda _: encode(np.concatenate([noise(0.3), np.zeros(48000, np.float32)])),
        "too_little_speech",
    ),
    "one sample": (lambda _: encode(np.ones(1, np.float32)), "too_little_speech"),
    "nan": (lambda _: encode(np.where(np.arange(32000) == 9, np.nan, noise(2))), "non_finite_samples"),
    "infinite": (lambda _: encode(np.where(np.arange(32000) == 9, np.inf, noise(2))), "non_finite_samples"),
    "too long": (lambda _: encode(noise(60.5), kind="FLAC", subtype="PCM_16"), "audio_too_long"),
    "too low a rate": (lambda _: encode(noise(2), 2000), "unsupported_sample_rate"),
}


@pytest.mark.parametrize("name", BAD_CLIPS)
@pytest.mark.parametrize("call", ["embed", "enroll", "verify", "identify"])
def test_bad_clip_at_each_call_is_refused_with_its_code(
    server: RunningServer, post: Post, good: bytes, name: str, call: str
) -> None:
    make, code = BAD_CLIPS[name]
    data = {"model": "voice"}
    if call in ("enroll", "verify"):
        data["subject_id"] = "bad-input"
    if call == "verify":
        server.client().enroll("bad-input", [good])
    require_problem(post(call, data, {"file": ("clip", make(good))}), 422, code)
    if call == "verify":
        server.client().delete_subject("bad-input")
    assert "bad-input" not in {s.subject_id for s in server.client().subjects(limit=1000).subjects}


def test_enroll_with_one_bad_file_among_good_ones_stores_nothing(
    server: RunningServer, post: Post, good: bytes
) -> None:
    before = server.client().subjects(limit=1000)
    files = [("file", ("a", good)), ("file", ("b", b"not audio at all")), ("file", ("c", good))]
    problem = require_problem(post("enroll", {"model": "voice", "subject_id": "half"}, files), 422, "not_audio")
    assert "File 2 of 3" in problem["detail"]
    assert server.client().subjects(limit=1000) == before


FIELD_ERRORS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("unknown model", "embed", {"model": "nobody"}, 404, "unknown_model"),
    ("no model", "embed", {}, 422, "missing_field"),
    ("untrained dim", "embed", {"model": "voice", "dim": "63"}, 422, "untrained_dim"),
    ("dim 0", "embed", {"model": "voice", "dim": "0"}, 422, "untrained_dim"),
    ("negative dim", "embed", {"model": "voice", "dim": "-64"}, 422, "untrained_dim"),
    ("huge dim", "embed", {"model": "voice", "dim": "9" * 400}, 422, "untrained_dim"),
    ("dim of words", "embed", {"model": "voice", "dim": "all"}, 422, "invalid_field"),
    ("dim 64.5", "embed", {"model": "voice", "dim": "64.5"}, 422, "invalid_field"),
    ("empty dim", "embed", {"model": "voice", "dim": ""}, 422, "invalid_field"),
    ("dim twice", "embed", {"model": "voice", "dim": ["64", "64"]}, 422, "invalid_field"),
    ("unknown encoding", "embed", {"model": "voice", "encoding": "hex"}, 422, "invalid_field"),
    ("wrong field name", "embed", {"model": "voice", "dimension": "64"}, 422, "unknown_field"),
    ("unknown subject", "verify", {"model": "voice", "subject_id": "nobody"}, 404, "unknown_subject"),
    ("no subject", "verify", {"model": "voice"}, 422, "missing_field"),
    ("fmr 0", "verify", {"model": "voice", "subject_id": "x", "max_fmr": "0"}, 422, "invalid_field"),
    ("fmr nan", "verify", {"model": "voice", "subject_id": "x", "max_fmr": "nan"}, 422, "invalid_field"),
    ("fpir 1", "identify", {"model": "voice", "max_fpir": "1"}, 422, "invalid_field"),
    ("top_k 0", "identify", {"model": "voice", "top_k": "0"}, 422, "invalid_field"),
    ("top_k 101", "identify", {"model": "voice", "top_k": "101"}, 422, "invalid_field"),
    ("long subject", "enroll", {"model": "voice", "subject_id": "x" * 10_240}, 422, "invalid_subject_id"),
    ("257 characters", "enroll", {"model": "voice", "subject_id": "x" * 257}, 422, "invalid_subject_id"),
    ("empty subject", "enroll", {"model": "voice", "subject_id": ""}, 422, "invalid_subject_id"),
    ("control character", "enroll", {"model": "voice", "subject_id": "a\x07b"}, 422, "invalid_subject_id"),
    ("space", "enroll", {"model": "voice", "subject_id": "a b"}, 422, "invalid_subject_id"),
    ("slash", "enroll", {"model": "voice", "subject_id": "a/b"}, 422, "invalid_subject_id"),
    ("markup", "enroll", {"model": "voice", "subject_id": "<b>"}, 422, "invalid_subject_id"),
]


@pytest.mark.parametrize(
    ("call", "data", "status", "code"), [e[1:] for e in FIELD_ERRORS], ids=[e[0] for e in FIELD_ERRORS]
)
def test_bad_field_is_refused_with_its_code(
    post: Post, good: bytes, call: str, data: dict[str, Any], status: int, code: str
) -> None:
    require_problem(post(call, data, {"file": ("clip", good)}), status, code)


def test_33_files_are_refused_and_32_are_not(post: Post, good: bytes) -> None:
    files = [("file", (f"{n}", good)) for n in range(33)]
    require_problem(post("embed", {"model": "voice"}, files), 422, "too_many_files")
    embeddings = post("embed", {"model": "voice", "dim": 16}, files[:32]).json()["embeddings"]
    assert len(embeddings) == 32
    assert embeddings == [embeddings[0]] * 32


def test_wrong_file_field_and_file_as_text_are_refused(post: Post, good: bytes) -> None:
    require_problem(post("embed", {"model": "voice"}, {"audio": ("a", good)}), 422, "unknown_field")
    require_problem(post("embed", {"model": "voice"}, {"model": ("a", good)}), 422, "invalid_field")
    as_text = [("model", (None, "voice")), ("file", (None, "text"))]
    require_problem(post("embed", None, as_text), 422, "invalid_field")
    require_problem(post("embed", None, [("model", (None, "voice"))]), 422, "missing_field")


def test_two_files_for_verify_are_refused(post: Post, good: bytes) -> None:
    files = [("file", ("a", good)), ("file", ("b", good))]
    require_problem(post("verify", {"model": "voice", "subject_id": "x"}, files), 422, "invalid_field")


@pytest.mark.parametrize("content_type", ["application/xml", "text/plain", "application/x-www-form-urlencoded", ""])
def test_wrong_content_type_is_refused(server: RunningServer, content_type: str) -> None:
    answer = requests.post(f"{server.url}/v1/embed", data=b"{}", headers={"Content-Type": content_type}, timeout=120)
    require_problem(answer, 415, "unsupported_content_type")


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=xyz"])
def test_body_that_is_no_form_is_refused(server: RunningServer, content_type: str) -> None:
    answer = requests.post(
        f"{server.url}/v1/embed", data=b"no form", headers={"Content-Type": content_type}, timeout=120
    )
    require_problem(answer, 400, "malformed_form")


def test_query_parameter_that_belongs_into_the_form_is_refused(server: RunningServer, good: bytes) -> None:
    answer = requests.post(
        f"{server.url}/v1/embed?dim=64", data={"model": "voice"}, files={"file": ("a", good)}, timeout=120
    )
    require_problem(answer, 422, "unknown_field")


def test_announced_body_over_the_limit_is_refused(post: Post) -> None:
    require_problem(post("embed", {"model": "voice"}, {"file": ("a", bytes(21 * MIB))}), 413, "body_too_large")


def test_streamed_body_over_the_limit_is_refused_while_it_streams(server: RunningServer) -> None:
    """Without Content-Length; the refusal must come after 20 MiB, long before the stream's end at 10 GiB."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(10 * 1024):
            sent += MIB
            yield bytes(MIB)

    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(
            b"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        )
        connection.settimeout(60)
        for block in endless():
            connection.sendall(b"%x\r\n" % len(block) + block + b"\r\n")
            if sent >= 25 * MIB:
                break
        answer = whole_answer(connection)
    assert answer.startswith(b"HTTP/1.1 413"), answer[:200]
    assert b"body_too_large" in answer


@pytest.mark.parametrize("subject_id", ["nobody", "x" * 300, "a%20b", "%00", "%FF"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_subject_that_is_not_there_is_a_4xx(server: RunningServer, method: str, subject_id: str) -> None:
    answer = requests.request(method, f"{server.url}/v1/subjects/{subject_id}", timeout=120)
    expected = (404, "unknown_subject") if subject_id == "nobody" else (422, "invalid_subject_id")
    require_problem(answer, *expected)


def test_unknown_path_method_cursor_and_limit_are_4xx(server: RunningServer) -> None:
    require_problem(requests.get(f"{server.url}/v1/nothing", timeout=120), 404, "unknown_path")
    require_problem(requests.get(f"{server.url}/v1/verify", timeout=120), 405, "method_not_allowed")
    require_problem(requests.get(f"{server.url}/v1/subjects?cursor=%25", timeout=120), 422, "invalid_field")
    require_problem(requests.get(f"{server.url}/v1/subjects?limit=0", timeout=120), 422, "invalid_field")
    require_problem(requests.get(f"{server.url}/v1/subjects?page=2", timeout=120), 422, "unknown_field")
    require_problem(requests.delete(f"{server.url}/v1/templates/none", timeout=120), 404, "unknown_template")


def test_server_log_after_all_bad_input_holds_no_traceback(server: RunningServer) -> None:
    assert "Traceback" not in server.log.read_text()
    assert server.process.poll() is None
