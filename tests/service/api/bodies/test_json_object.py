"""JSON bodies over real HTTP: they say what a form says, and whatever they say else is refused as a form is."""

import base64
import itertools
import json
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st

from matchka.api.bodies.fields import FieldKind
from matchka.api.bodies.json_object import JsonReader
from matchka.errors import MalformedFormError
from tests.factories.bundles import write_bundle
from tests.factories.samples import sample, voice
from tests.factories.slow_embedding import embedding_of
from tests.factories.small_server import SmallServer, serving, small_settings

JSON = {"Content-Type": "application/json"}
TAKES = itertools.count(100)  # a sample is enrolled once only


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def post(server: SmallServer, path: str, body: object, content_type: str = "application/json") -> requests.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = requests.post(f"{server.url}{path}", data=data, headers={"Content-Type": content_type}, timeout=60)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
    return answer


def refused(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """A server that knows ada and takes three files."""
    folder = tmp_path_factory.mktemp("json")
    write_bundle(folder / "models" / "voice")
    with serving(small_settings(folder, max_files=3, max_body_mib=4.0)) as running:
        running.client().enroll("ada", [sample(1)])
        yield running


FORMS: tuple[tuple[str, dict[str, Any], dict[str, bytes]], ...] = (
    ("/v1/embed", {"model": "voice", "dim": 4, "encoding": "base64"}, {"file": sample(2)}),
    ("/v1/verify", {"model": "voice", "subject_id": "ada", "max_fmr": 0.01}, {"file": sample(1, 1)}),
    ("/v1/compare", {"model": "voice", "dim": 2}, {"file_a": sample(1, 1), "file_b": sample(2)}),
    ("/v1/identify", {"model": "voice", "top_k": 3, "max_fpir": 1e-1}, {"file": sample(1, 2)}),
    ("/v1/identify", {"model": "nobody"}, {"file": sample(1, 2)}),
    ("/v1/embed", {"model": "voice", "dim": 3}, {"file": sample(2)}),
    ("/v1/embed", {"model": "voice"}, {"file": b""}),
    ("/v1/embed", {"model": "voice", "stray": 1}, {"file": sample(2)}),
    ("/v1/embed", {"model": "voice"}, {}),
    ("/v1/verify", {"model": "voice", "subject_id": "a b"}, {"file": sample(2)}),
    ("/v1/verify", {"model": "voice", "subject_id": "ada", "max_fmr": 1}, {"file": sample(2)}),
    ("/v1/identify", {"model": "voice", "top_k": 5.5}, {"file": sample(2)}),
    ("/v1/identify", {"model": "voice", "top_k": float("nan")}, {"file": sample(2)}),
    ("/v1/embed", {"model": "voice", "dim": 10**400}, {"file": sample(2)}),
)


@pytest.mark.parametrize(("path", "fields", "files"), FORMS)
@pytest.mark.parametrize("prefix", ["", "data:audio/wav;base64,", "DATA:audio/x-wav;codec=1;base64,"])
def test_json_body_is_answered_like_the_form_that_says_the_same(
    server: SmallServer, path: str, fields: dict[str, Any], files: dict[str, bytes], prefix: str
):
    parts = [(name, (None, str(value))) for name, value in fields.items()]
    parts += [(name, ("f", data)) for name, data in files.items()]
    as_form = requests.post(f"{server.url}{path}", files=parts, timeout=60)
    as_json = post(server, path, {**fields, **{name: prefix + text_of(data) for name, data in files.items()}})
    assert as_json.status_code == as_form.status_code, as_json.text
    assert without_echo(as_json.json()) == without_echo(as_form.json())


def without_echo(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer but for the value that a problem repeats, which is as it was written, and the request's id."""
    return {name: value for name, value in answer.items() if name not in ("value", "request_id")}


def test_json_body_enrols_all_its_files_and_they_verify(server: SmallServer):
    files = [text_of(sample(5, next(TAKES))) for _ in range(2)]
    answer = post(server, "/v1/enroll", {"model": "voice", "subject_id": "élan", "file": files, "face": None})
    assert (answer.status_code, answer.json()["template_count"]) == (201, 2)
    assert server.client().verify("élan", sample(5)).match


def test_json_body_with_several_files_embeds_each_in_its_order(server: SmallServer):
    answer = post(server, "/v1/embed", {"model": "voice", "file": [text_of(sample(person)) for person in (1, 2, 3)]})
    expected = [embedding_of(voice(person)) for person in (1, 2, 3)]
    np.testing.assert_allclose(answer.json()["embeddings"], expected, atol=1e-5)


def good(**changed: object) -> dict[str, object]:
    return {"model": "voice", "subject_id": "ada", "file": text_of(sample(1, 1)), **changed}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (good(file="no base64!"), 422, "invalid_field"),
        (good(file=text_of(sample(1)) + "\n"), 422, "invalid_field"),
        (good(file="abc"), 422, "invalid_field"),  # without its padding
        (good(file="data:audio/wav,abcd"), 422, "invalid_field"),
        (good(file="data:audio/wav;base64,ab%3D%3D"), 422, "invalid_field"),
        (good(file="é"), 422, "invalid_field"),
        (good(file=1), 422, "invalid_field"),
        (good(file={}), 422, "not_audio"),
        (good(file={"\ud800": 1}), 422, "invalid_field"),
        (good(file={"a": "\ud800"}), 422, "invalid_field"),
        (good(file=[{}]), 422, "not_audio"),
        (good(file={"a": "x" * (1 << 20)}), 400, "malformed_form"),
        (b'{"model": "voice", "subject_id": "ada", "file": ' + b'{"a":' * 33 + b"1" + b"}" * 34, 400, "malformed_form"),
        (
            b'{"model": "voice", "subject_id": "ada", "file": {"a":' + b"[" * 32 + b"]" * 32 + b"}}",
            400,
            "malformed_form",
        ),
        (
            b'{"model": "voice", "subject_id": "ada", "file": ' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
            400,
            "malformed_form",
        ),
        (good(file={"a": list(range(20_000))}), 400, "malformed_form"),
        (good(file={str(n): n for n in range(10_000)}), 400, "malformed_form"),
        (good(file=[text_of(sample(1))] * 2), 422, "invalid_field"),  # verify takes one without a challenge
        (good(file=None), 422, "missing_field"),
        (good(model=1), 422, "invalid_field"),
        (good(model=True), 422, "invalid_field"),
        (good(model=["voice"]), 422, "invalid_field"),
        (good(model="\ud800"), 422, "invalid_field"),
        (good(dim="4"), 422, "invalid_field"),
        (good(dim=True), 422, "invalid_field"),
        (good(dim=[4]), 422, "invalid_field"),
        (good(max_fmr={"a": 1}), 422, "invalid_field"),
        (good(max_fmr=float("inf")), 422, "invalid_field"),
        (good(stray=None), 422, "unknown_field"),
        ({**good(), "\ud800": 1}, 422, "unknown_field"),
        (b'{"model": "voice", "model": "voice"}', 422, "invalid_field"),
        (b'{"model": "voice", "subject_id": "ada", "file": "AA==", "max_fmr": 1e400}', 422, "invalid_field"),
        (
            b'{"model": "voice", "subject_id": "ada", "file": "AA==", "dim": ' + b"9" * 10_000 + b"}",
            422,
            "invalid_field",
        ),
        (b"", 400, "malformed_form"),
        (b"[]", 400, "malformed_form"),
        (b'"voice"', 400, "malformed_form"),
        (b"{} {}", 400, "malformed_form"),
        (b'{"model": "voice"', 400, "malformed_form"),
        (b'{"model": "v\xff"}', 400, "malformed_form"),
        ("{}".encode("utf-16"), 400, "malformed_form"),
        (b"\xef\xbb\xbf{}", 400, "malformed_form"),
        (b'{"model": ' + b"[" * 30_000, 400, "malformed_form"),
        (b'{"model": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", 400, "malformed_form"),
        (b'{"model": ' + b"[" * 2_000_000, 400, "malformed_form"),
        (b"{" + b" " * 100_000 + b"}", 400, "malformed_form"),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict | bytes) else None,
)
def test_json_body_that_no_form_could_be_is_refused_with_a_forms_code(
    server: SmallServer, body: object, status: int, code: str
):
    assert refused(post(server, "/v1/verify", body)) == (status, code)


def object_read(text: str) -> bytes:
    """What a reader of samples is handed of a file that is this object."""
    reader = JsonReader({"file": FieldKind(is_file=True)}, 1)
    reader.write(f'{{"file": {text}}}'.encode())
    ((data,),) = reader.fields().values()
    assert isinstance(data, bytes)
    return data


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"gain":-1.50e+3,"count":12345678901234567890123,"rate":0.1}',
        '{"a":1,"a":2}',
        '{"a":NaN,"b":Infinity,"c":-Infinity,"d":1e999}',
        '{"a":true,"b":null,"c":[1,"two",{"d":[]}],"":{}}',
        '{"é 中 😀":"\\u0001 \\" \\\\ \x7f"}',
        '{"a":' + "[" * 31 + "]" * 31 + "}",
        '{"a":' + "9" * 5000 + "}",
    ],
)
def test_file_that_is_an_object_reaches_its_reader_as_it_was_written(text: str):
    assert object_read(text) == text.encode()


def test_file_that_is_an_object_may_be_spaced_and_escaped_in_any_way():
    assert object_read('{ "\\u00e9\\ud83d\\ude00" :\n[ 1 , "\\/" ] }') == '{"é😀":[1,"/"]}'.encode()


def test_files_that_are_objects_stand_beside_files_as_base64(server: SmallServer):
    answer = post(server, "/v1/embed", {"model": "voice", "file": [text_of(sample(1)), {"a": 1}]})
    assert refused(answer) == (422, "not_audio")
    reader = JsonReader({"file": FieldKind(is_file=True, is_list=True)}, 3)
    reader.write(b'{"file": ["AAE=", {"a": 1}, "data:;base64,Ag=="]}')
    assert reader.fields() == {"file": [b"\0\1", b'{"a":1}', b"\2"]}


@pytest.mark.parametrize("file", [["AA=="] * 4, ["AA=="] * 10_000, [{}] * 4, [{}] * 10_000])
def test_json_body_with_too_many_files_is_refused(server: SmallServer, file: list[str]):
    answer = post(server, "/v1/embed", {"model": "voice", "file": file})
    assert refused(answer) == (422, "too_many_files")


def test_json_body_beyond_the_limit_is_refused(server: SmallServer):
    answer = post(server, "/v1/embed", {"model": "voice", "file": "A" * (5 << 20)})
    assert refused(answer) == (413, "body_too_large")


@pytest.mark.parametrize("content_type", ["text/json", "application/x-www-form-urlencoded", "application/jsonl", ""])
def test_body_of_another_type_is_refused(server: SmallServer, content_type: str):
    assert refused(post(server, "/v1/verify", good(), content_type)) == (415, "unsupported_content_type")


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=undefined", "APPLICATION/JSON", "application/json;"]
)
def test_json_body_is_utf_8_whatever_its_header_says_else(server: SmallServer, content_type: str):
    body = json.dumps(good(model="fäce"), ensure_ascii=False).encode()
    answer = post(server, "/v1/verify", body, content_type)
    assert (*refused(answer), answer.json()["value"]) == (404, "unknown_model", "fäce")


REPEATED = {
    "brackets": b"[]," * 1_300_000,
    "numbers": b"1," * 1_900_000,
    "strings": b'"",' * 1_300_000,
    "strings without commas": b'""' * 1_900_000,
    "escaped quotes without an end": b'"' + b'\\"' * 1_900_000,
    "backslashes": b"\\" * 3_800_000,
    "members": b'"a":0,' * 600_000,
    "open objects": b'{"a":' * 700_000,
}


@pytest.mark.parametrize("name", REPEATED)
def test_json_body_of_many_parts_costs_no_more_than_one_of_files(server: SmallServer, name: str):
    """In time, against a body of the same size that is one file; one that looked twice at it would take far more."""

    def seconds(body: bytes) -> float:
        begun = time.perf_counter()
        assert post(server, "/v1/embed", body).status_code in (400, 422)
        return time.perf_counter() - begun

    many = b'{"model": "voice", "file": [' + REPEATED[name]
    one = json.dumps({"model": "voice", "file": "A" * (len(many) // 4 * 4)}).encode()
    assert min(seconds(many) for _ in range(3)) < 5 * min(seconds(one) for _ in range(3)) + 0.2


@pytest.mark.parametrize("name", REPEATED)
def test_json_body_of_many_parts_takes_no_more_memory_than_a_few_copies_of_it(name: str):
    """To build all these parts would take from five to forty times the body's size."""
    body = b'{"model": "voice", "file": [' + REPEATED[name]
    reader = JsonReader({"model": FieldKind(), "file": FieldKind(is_file=True, is_list=True)}, 32)
    tracemalloc.start()
    try:
        reader.write(body)
        with pytest.raises(MalformedFormError):
            reader.fields()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * len(body)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["voice", "AA=="]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["model", "subject_id", "file", "voice_file", "face_file", "dim", "max_fmr", "face", "require"])


@settings(max_examples=300, deadline=None)
@given(members=st.lists(st.tuples(NAMES | st.text(max_size=5), VALUES), max_size=8))
@example(members=[("model", "voice"), ("subject_id", "ada"), ("file", "AA=="), ("dim", 2)])
def test_json_body_of_any_members_is_never_a_failure(small_server: SmallServer, members: list[tuple[str, Any]]):
    body = "{" + ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in members) + "}"
    assert 400 <= post(small_server, "/v1/verify", body.encode()).status_code < 500


PIECES = st.sampled_from(
    [
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"model",
        b"file",
        b"null",
        b"NaN",
        b"1e9",
        b"\\u",
        b"\\ud800",
        b"\xff",
    ]
)


@settings(max_examples=300, deadline=None)
@given(body=st.lists(PIECES | st.binary(max_size=4), max_size=30).map(b"".join))
def test_json_body_of_any_bytes_is_never_a_failure(small_server: SmallServer, body: bytes):
    assert 400 <= post(small_server, "/v1/embed", body).status_code < 500
