"""POST /v1/embeddings: what the client of OpenAI's makers sends and reads, and what is refused."""

import base64
import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import requests

from matchka.bundles.bundle import sha256_of
from tests.factories.bundles import CONTEXT, HOP, edit_bundle, write_bundle
from tests.factories.graphs import WINDOW, write_graph
from tests.factories.named_numbers import FREQUENCY, GAIN
from tests.factories.samples import sample, voice
from tests.factories.slow_embedding import embedding_of
from tests.factories.small_server import SmallServer, serving, small_settings

KEY = "0123456789abcdef0123"
TIMEOUT_S = 60


def uri(data: bytes, media_type: str = "audio/wav") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """A server that needs a key, of a voice model with dims 2, 4 and 8 and one of named numbers."""
    folder = tmp_path_factory.mktemp("embeddings")
    write_bundle(folder / "models" / "voice")
    tone = write_bundle(folder / "models" / "tone", "tone", input={"kind": "tabular", "fields": [FREQUENCY, GAIN]})
    write_graph(tone / "model.onnx", input_name="values", window=2)
    edit_bundle(tone, lambda manifest: manifest["files"].update({"model.onnx": sha256_of(tone / "model.onnx")}))
    with serving(small_settings(folder, api_key=KEY, max_files=3, max_body_mib=4.0)) as running:
        yield running


@pytest.fixture(scope="module")
def openai() -> ModuleType:
    """The official client, where it is installed."""
    module: ModuleType = pytest.importorskip("openai", reason="openai is not installed (extra test)")
    return module


@pytest.fixture
def client(openai: ModuleType, server: SmallServer) -> Iterator[Any]:
    """That client with the server's address and key."""
    with openai.OpenAI(api_key=KEY, base_url=f"{server.url}/v1", max_retries=0, timeout=TIMEOUT_S) as opened:
        yield opened


def unit(vector: np.ndarray, dim: int) -> np.ndarray:
    return vector[:dim] / np.linalg.norm(vector[:dim])


def windows_of(samples: np.ndarray) -> int:
    """How many windows a recording has, by walking over it."""
    start, count = -CONTEXT, 1
    while start + WINDOW - CONTEXT < samples.size:
        start, count = start + HOP, count + 1
    return count


def post(server: SmallServer, body: object, key: str = KEY) -> requests.Response:
    return requests.post(
        f"{server.url}/v1/embeddings",
        data=body if isinstance(body, bytes) else json.dumps(body),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
        timeout=TIMEOUT_S,
    )


def test_official_client_gets_embeddings_in_the_order_of_its_inputs(client: Any):
    people = (3, 1, 2)
    answer = client.embeddings.create(model="voice", input=[uri(sample(person)) for person in people])
    assert [entry.index for entry in answer.data] == [0, 1, 2]
    for entry, person in zip(answer.data, people, strict=True):
        np.testing.assert_allclose(entry.embedding, embedding_of(voice(person)), atol=1e-5)
    assert (answer.object, answer.model, {entry.object for entry in answer.data}) == ("list", "voice", {"embedding"})


def test_official_client_gets_the_same_numbers_as_floats_and_as_base64(client: Any):
    given = {"model": "voice", "input": uri(sample(4)), "dimensions": 4}
    floats = client.embeddings.create(**given, encoding_format="float").data[0].embedding
    text = client.embeddings.with_raw_response.create(**given, encoding_format="base64").http_response.json()
    decoded = np.frombuffer(base64.b64decode(text["data"][0]["embedding"]), "<f4")
    np.testing.assert_allclose(floats, unit(embedding_of(voice(4)), 4), atol=1e-5)
    np.testing.assert_array_equal(np.float32(floats), decoded)


def test_official_client_gets_named_numbers_as_objects_and_as_uris_embedded_alike(client: Any):
    warm, bright = {"frequency": 30.0, "gain": 11.0}, {"frequency": 60.0, "gain": -11.5}
    as_text = [uri(json.dumps(one).encode(), "application/json") for one in (warm, bright)]
    objects = client.embeddings.create(model="tone", input=[warm, bright], user="somebody")
    texts = client.embeddings.create(model="tone", input=as_text)
    assert [one.embedding for one in objects.data] == [one.embedding for one in texts.data]
    assert client.embeddings.create(model="tone", input=warm).data[0].embedding == pytest.approx(
        objects.data[0].embedding, abs=1e-6
    )
    assert objects.usage.total_tokens == 2


@pytest.mark.parametrize("seconds", [0.7, 1.0, 2.5])
def test_usage_counts_the_windows_of_all_recordings(server: SmallServer, seconds: float):
    files = [uri(sample(1, seconds=seconds)), uri(sample(2))]
    usage = post(server, {"model": "voice", "input": files}).json()["usage"]
    rows = windows_of(voice(1, seconds=seconds)) + windows_of(voice(2))
    assert usage == {"prompt_tokens": rows, "total_tokens": rows}


def test_answer_names_the_space_of_its_embeddings(server: SmallServer):
    embedded = post(server, {"model": "voice", "input": uri(sample(1))}).json()
    models = requests.get(f"{server.url}/v1/models", headers={"Authorization": f"Bearer {KEY}"}, timeout=TIMEOUT_S)
    served = {model["name"]: model["version"] for model in models.json()["models"]}
    assert embedded["version"] == served["voice"]


def test_official_client_reads_a_refusal_with_its_code_and_remedy(client: Any, openai: ModuleType):
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.embeddings.create(model="voice", input="How many roads must a man walk down?")
    assert (refused.value.body["code"], refused.value.code) == ("invalid_field", "invalid_field")
    assert "data:" in refused.value.body["remedy"]
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.embeddings.create(model="voice", input=uri(sample(1)), dimensions=3)
    assert (refused.value.body["code"], refused.value.body["value"]) == ("untrained_dim", "3")
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="text-embedding-3-small", input=uri(sample(1)))
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").embeddings.create(model="voice", input=uri(sample(1)))


def test_key_without_the_scope_embed_is_refused(client: Any, server: SmallServer, openai: ModuleType):
    created = server.client(KEY).create_key("door", scopes="verify")
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client.with_options(api_key=created.key).embeddings.create(model="voice", input=uri(sample(1)))
    assert refused.value.body["code"] == "missing_scope"


WAV = sample(1)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
REFUSED: tuple[tuple[str, object, int, str], ...] = (
    ("words", "a text that is no sample", 422, "invalid_field"),
    ("words that are base64", "text", 422, "invalid_field"),
    ("base64 of which nothing is said", base64.b64encode(WAV).decode(), 422, "invalid_field"),
    ("an address", "https://example.com/clip.wav", 422, "invalid_field"),
    ("an address in a data URI", "data:audio/wav,https://example.com/clip.wav", 422, "invalid_field"),
    ("a file's address", "file:///etc/passwd", 422, "invalid_field"),
    ("no media type", uri(WAV, ""), 422, "invalid_field"),
    ("half a media type", uri(WAV, "audio"), 422, "invalid_field"),
    ("a media type of other letters", uri(WAV, "äudio/wav"), 422, "invalid_field"),
    ("rubbish in base64", "data:audio/wav;base64,%%%%", 422, "invalid_field"),
    ("a line in base64", uri(WAV) + "\n", 422, "invalid_field"),
    ("another kind's media type", uri(WAV, "image/png"), 422, "invalid_field"),
    ("a picture said to be a sound", uri(PNG, "audio/wav"), 422, "not_audio"),
    ("an empty sample", uri(b""), 422, "empty_file"),
    ("tokens", [1, 2, 3], 422, "invalid_field"),
    ("lists of tokens", [[1, 2], [3]], 422, "invalid_field"),
    ("a sample and nothing", [uri(WAV), None], 422, "invalid_field"),
    ("no samples", [], 422, "missing_field"),
    ("too many samples", [uri(b"x")] * 4, 422, "too_many_files"),
    ("an object where a recording is due", {"frequency": 30.0}, 422, "not_audio"),
)


@pytest.mark.parametrize(("given", "status", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_input_that_is_no_sample_is_refused_and_never_fetched(
    server: SmallServer, given: object, status: int, code: str
):
    answer = post(server, {"model": "voice", "input": given})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["remedy"]


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"dimensions": 3}, 422, "untrained_dim"),
        ({"dimensions": 0}, 422, "untrained_dim"),
        ({"dimensions": "4"}, 422, "invalid_field"),
        ({"dimensions": 2.5}, 422, "invalid_field"),
        ({"encoding_format": "int8"}, 422, "invalid_field"),
        ({"model": "nobody"}, 404, "unknown_model"),
        ({"dim": 4}, 422, "unknown_field"),
    ],
)
def test_other_fields_that_are_wrong_are_refused(
    server: SmallServer, changed: dict[str, object], status: int, code: str
):
    answer = post(server, {"model": "voice", "input": uri(WAV), **changed})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"model": "voice", "input": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400, "malformed_form"),
        (b'{"model": "voice", "input": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001, 400, "malformed_form"),
        (b'{"model": "voice", "input": "data:audio/wav;base64,' + b"A" * (5 << 20) + b'"}', 413, "body_too_large"),
    ],
    ids=["nested arrays", "nested objects", "a body beyond the limit"],
)
def test_body_that_is_too_deep_or_too_large_is_refused(server: SmallServer, body: bytes, status: int, code: str):
    answer = post(server, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_type_that_says_nothing_is_taken_by_its_content(server: SmallServer):
    answers = [
        post(server, {"model": "voice", "input": uri(WAV, kind)})
        for kind in ("Audio/X-Wav", "application/octet-stream")
    ]
    first, second = (answer.json()["data"][0]["embedding"] for answer in answers)
    assert first == second
