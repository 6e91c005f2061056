"""The client's calls and answers against the service's OpenAPI document, so that the two cannot drift apart."""

import inspect
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from types import NoneType
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from matchka.app import create_app
from matchka.client import AsyncClient, Client, answers, calls
from matchka.client.answers import Answer, SubjectSimilarityAnswer
from matchka.client.calls import Call
from matchka.settings import read_settings

DOCUMENT: dict[str, Any] = create_app(read_settings({})).openapi()
KINDS = [kind for kind in vars(answers).values() if inspect.isclass(kind) and issubclass(kind, Answer)]
# said of a field, not of what a reader has to be ready for
REMARKS = {"title", "description", "default", "pattern", "minLength", "maxLength", "minItems", "maxItems"} | {
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
}
SAMPLE = b"x"
EXPIRY = datetime(2030, 1, 1, tzinfo=UTC)
CALLS: list[tuple[Callable[..., Call[Any]], Call[Any]]] = [
    (calls.embed, calls.embed([SAMPLE], "m", 1, "only", "npy")),
    (calls.enroll, calls.enroll("s", [SAMPLE, SAMPLE], "m", "only", "npy", "c", "p", EXPIRY, {"a": 1})),
    (calls.verify, calls.verify("s", SAMPLE, "m", 1, 0.1, "only", "npy", "c", 0.1)),
    (calls.verify_jointly, calls.verify_jointly("s", SAMPLE, SAMPLE, 0.1, "both", 0.2, "c", 0.1)),
    (calls.challenge, calls.challenge("s", 5)),
    (calls.head_turn, calls.head_turn("s")),
    (calls.verify_turning, calls.verify_turning("s", [SAMPLE, SAMPLE, SAMPLE], "c", "m", 0.1)),
    (calls.pronounce, calls.pronounce(SAMPLE, "a text", "m", 0.1)),
    (calls.transcribe, calls.transcribe(SAMPLE, "m")),
    (calls.compare, calls.compare(SAMPLE, SAMPLE, "m", 1, 0.1, "only", "npy")),
    (calls.identify, calls.identify(SAMPLE, "m", 1, 2, 0.1, "only", "npy")),
    (calls.classify, calls.classify(SAMPLE, "m", "npy")),
    (calls.generate, calls.generate("warm", 0.5, "m")),
    (calls.morph, calls.morph(SAMPLE, SAMPLE, 0.5, "m")),
    (calls.subjects, calls.subjects(3, "c")),
    (calls.subject, calls.subject("s")),
    (calls.change_subject, calls.change_subject("s", "c", "p", EXPIRY, {"a": 1})),
    (calls.export_subject, calls.export_subject("s")),
    (calls.delete_subject, calls.delete_subject("s")),
    (calls.receipt_of_deletion, calls.receipt_of_deletion("s")),
    (calls.receipt_key, calls.receipt_key()),
    (calls.delete_template, calls.delete_template("t")),
    (calls.models, calls.models()),
    (calls.keys, calls.keys()),
    (calls.create_key, calls.create_key("n", "verify", 1.0, 0.1, 0.1, 2.0, 3, 4)),
    (calls.revoke_key, calls.revoke_key("k")),
    (calls.audit, calls.audit()),
    (calls.metrics, calls.metrics()),
    (calls.ready, calls.ready()),
]


def plain(schema: Any, definitions: dict[str, Any]) -> Any:
    """What a schema says of the JSON that comes, references followed, without remarks."""
    if isinstance(schema, list):
        return sorted((plain(part, definitions) for part in schema), key=lambda part: json.dumps(part, sort_keys=True))
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return plain(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    if "patternProperties" in schema:  # keys of a pattern: to a reader, keys
        (values,) = schema["patternProperties"].values()
        return plain({"type": "object", "additionalProperties": values}, definitions)
    if "properties" in schema:
        return {name: plain(value, definitions) for name, value in schema["properties"].items()} | {
            "required": sorted(schema.get("required", ()))
        }
    return {key: plain(value, definitions) for key, value in schema.items() if key not in REMARKS}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not Answer], ids=lambda kind: kind.__name__)
def test_answer_of_the_client_has_the_fields_and_types_of_the_document(kind: type[BaseModel]):
    _, ours = models_json_schema([(kind, "validation")], ref_template="#/{model}")
    own = ours["$defs"].get(kind.__name__, ours)
    theirs = DOCUMENT["components"]["schemas"]
    assert plain(own, ours["$defs"]) == plain(theirs[kind.__name__], theirs)


def test_client_knows_every_answer_of_the_document():
    of_others = {"HealthAnswer", "EmbeddingsAnswer", "OpenAiEmbedding", "OpenAiUsage"}  # probes, OpenAI's own clients
    of_service = set(DOCUMENT["components"]["schemas"])
    assert {kind.__name__ for kind in KINDS} - {"Answer"} == of_service - of_others
    assert of_others <= of_service


def described(call: Call[Any]) -> dict[str, Any]:
    """The operation of the document that a call is."""
    for path, operations in DOCUMENT["paths"].items():
        is_path = re.fullmatch(re.sub("{[a-z_]+}", "[^/]+", path), call.path.partition("?")[0])
        if is_path and call.method.lower() in operations:
            operation: dict[str, Any] = operations[call.method.lower()]
            return operation
    raise AssertionError(f"the service has no {call.method} {call.path}")


@pytest.mark.parametrize(("describe", "call"), CALLS, ids=lambda value: getattr(value, "__name__", ""))
def test_call_of_the_client_is_one_of_the_document(describe: Callable[..., Call[Any]], call: Call[Any]):
    operation = described(call)
    content = operation.get("requestBody", {}).get("content", {})
    query = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"}
    form = content["multipart/form-data"]["schema"]["properties"] if content else {}
    assert set(call.fields) <= (query if call.method == "GET" else set(form))
    assert {name for name, _ in call.files} <= set(form)

    (answer,) = get_args(inspect.signature(describe).return_annotation)
    successes = {status: response for status, response in operation["responses"].items() if status.startswith("2")}
    wanted = "200" if call.path.endswith("?receipt=true") else min(successes, key=lambda status: status != "204")
    if len(successes) > 1:  # a deletion answers nothing, unless a receipt is asked for
        assert set(successes) == {"200", "204"}
    success = successes[wanted]
    schemas = [media["schema"] for media in success.get("content", {}).values()]
    named = {schema["$ref"].rsplit("/", 1)[1] for s in schemas for schema in s.get("anyOf", [s]) if "$ref" in schema}
    if answer is NoneType:
        assert not schemas
    elif answer is str:
        assert schemas == [{"type": "string"}]
    else:
        assert answer.__name__ in named


def test_calls_of_both_clients_are_all_that_are_described():
    names = {describe.__name__ for describe, _ in CALLS} - {"ready"}  # wait_until_ready asks it
    for client in (Client, AsyncClient):
        public = {name for name in vars(client) if not name.startswith("_")}
        assert public == names | {"close", "key_id", "url", "wait_until_ready"}


def test_methods_of_both_clients_show_the_parameters_and_the_text_of_the_call():
    for describe, _ in CALLS[:-1]:
        of_call = inspect.signature(describe)
        for client in (Client, AsyncClient):
            method = getattr(client, describe.__name__)
            assert list(inspect.signature(method).parameters.values())[1:] == list(of_call.parameters.values())
            assert method.__doc__ == describe.__doc__


def test_answer_of_a_newer_service_is_read_without_the_fields_that_it_added():
    answer = SubjectSimilarityAnswer.model_validate_json('{"subject_id": "a", "similarity": 0.5, "added": [1]}')
    assert answer.model_dump() == {"subject_id": "a", "similarity": 0.5, "cosine": None}
    with pytest.raises(ValueError, match="frozen"):
        answer.similarity = 1.0
