"""The OpenAPI document against what the calls really answer: every status, media type and code is declared."""

import itertools
import json
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import pytest
import requests
from fastapi.routing import APIRoute, APIRouter

from matchka.api import answers, routes
from matchka.api.answers.answer import Answer
from matchka.api.answers.service import Problem
from matchka.api.openapi import NOT_OF_A_CALL
from matchka.api.problems import STATUS_AND_CODE
from matchka.app import create_app
from matchka.settings import Settings, read_settings
from tests.factories.classifiers import write_classifier
from tests.factories.parameters import SETTING, write_parameters_bundle
from tests.factories.samples import encoded, sample
from tests.factories.small_server import SmallServer, serving, small_settings
from tests.factories.spoken_tones import spoken, write_phoneme_bundle

KEY = "0123456789abcdef0123"
DOCUMENT: dict[str, Any] = create_app(read_settings({})).openapi()
CALLS = [(method, path) for path, operations in DOCUMENT["paths"].items() for method in operations]
ANSWERS = {
    name: kind
    for module in pkgutil.iter_modules(answers.__path__, "matchka.api.answers.")
    for name, kind in vars(import_module(module.name)).items()
    if isinstance(kind, type) and issubclass(kind, Answer)
}
PROBLEM = "application/problem+json"
PHRASE = ("baabiy", "daadiy", "kaakiy", "maamiy")
TAKES = itertools.count()  # a sample is enrolled once only
SETTINGS = {name: json.dumps(SETTING).encode() for name in ("a", "b")}
WRONG = ("", "\0", "a b", "no such", "0", "-1", "1e9", "3", "x" * 5000)  # values that some field refuses


@dataclass(frozen=True)
class Request:
    """A request of a call, made from what the document says of it."""

    method: str
    path: str
    where: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    key: str | None = KEY

    def send(self, server: SmallServer) -> requests.Response:
        path = self.path
        for name, value in self.where.items():
            path = path.replace("{" + name + "}", requests.utils.quote(value, safe=""))
        parts = [(name, (None, value)) for name, value in self.fields.items()]
        return requests.request(
            self.method,
            server.url + path,
            params=self.query,
            files=[*parts, *((name, ("f", data)) for name, data in self.files.items())] or None,
            headers={"Authorization": f"Bearer {self.key}"} if self.key else {},
            timeout=20,
        )


def operation(method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][path][method]
    return found


def form_of(method: str, path: str) -> dict[str, Any]:
    """The fields of a call's form by name; none where it has no form."""
    content = operation(method, path).get("requestBody", {}).get("content", {})
    fields: dict[str, Any] = content["multipart/form-data"]["schema"]["properties"] if content else {}
    return fields


def codes_of(response: dict[str, Any]) -> list[str]:
    codes: list[str] = response["content"][PROBLEM]["schema"]["properties"]["code"]["enum"]
    return codes


def good_request(server: SmallServer, method: str, path: str) -> Request:
    """A request that the call answers as it should, on behalf of a subject that was enrolled for it."""
    client = server.client(KEY)
    client.enroll("ada", [sample(1, next(TAKES))])
    ids = {
        "subject_id": "ada",
        "template_id": client.subject("ada").templates[0].template_id,
        "key_id": client.create_key("one that may go").key_id,
    }
    names = form_of(method, path)
    of_speech = "text" in names or path == "/v1/transcribe"
    needs_settings = not names.keys().isdisjoint({"descriptor", *SETTINGS})
    model = "phonemes" if of_speech else "tone" if needs_settings else "voice"
    given = {"model": model, "subject_id": "ada", "text": " ".join(PHRASE), "descriptor": "warm", "name": "door"}
    given |= {"consent": "form 7"}
    files = {name: sample(1, next(TAKES)) for name in names if name in ("file", "file_a", "file_b", "input")}
    files |= {name: data for name, data in SETTINGS.items() if name in names}
    return Request(
        method,
        path,
        where={p["name"]: ids[p["name"]] for p in operation(method, path).get("parameters", ()) if p["in"] == "path"},
        fields={name: value for name, value in given.items() if name in names},
        files={"file": encoded(spoken(PHRASE))} if of_speech else files,
    )


def bad_requests(good: Request) -> Iterator[Request]:
    """What a call refuses: a key, a parameter, each field left out, and each with a value it cannot have."""
    yield replace(good, key=None)
    yield replace(good, key="wrong")
    yield replace(good, query={"stray": "1"})
    yield replace(good, files={**good.files, "stray": b"x"})
    for name, value in itertools.product(good.where, WRONG[1:]):
        yield replace(good, where={name: value})
    for parameter, value in itertools.product(operation(good.method, good.path).get("parameters", ()), WRONG):
        if parameter["in"] == "query":
            yield replace(good, query={parameter["name"]: value})
    names = form_of(good.method, good.path)
    for name in names:
        yield replace(good, fields=without(good.fields, name), files=without(good.files, name))
        yield replace(good, files={**good.files, name: b"x"})
        yield replace(good, files={**good.files, name: b""})
    for name, value in itertools.product(names, WRONG):
        yield replace(good, fields={**good.fields, name: value}, files=without(good.files, name))


def without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {other: value for other, value in values.items() if other != name}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """A server that needs a key, of models that embed and classify, hear phones and return settings."""
    folder = tmp_path_factory.mktemp("openapi")
    write_classifier(folder / "models" / "voice", "voice", embeds=True)
    write_phoneme_bundle(folder / "models" / "phonemes")
    write_parameters_bundle(folder / "models" / "tone", "tone")
    with serving(small_settings(folder, api_key=KEY)) as running:
        yield running


def calls_of(routers: Iterable[APIRouter]) -> set[tuple[str, str]]:
    found = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    return {(method.lower(), route.path) for route in found for method in route.methods}


def test_document_has_every_call_of_the_service(settings: Settings):
    modules = [import_module(f"{routes.__name__}.{module.name}") for module in pkgutil.iter_modules(routes.__path__)]
    served = calls_of([create_app(settings).router, *(module.router for module in modules)])
    own = {
        ("get", path) for path in ("/openapi.json", "/docs", "/docs/start.js", "/docs/{name}", "/", "/page/{path:path}")
    }
    assert own <= served
    assert served - own == set(CALLS)


def test_document_over_http_is_the_one_that_these_tests_walk(server: SmallServer):
    answer = requests.get(f"{server.url}/openapi.json", headers={"Authorization": f"Bearer {KEY}"}, timeout=20)
    assert answer.json() == DOCUMENT


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_call_that_succeeds_answers_the_status_and_type_that_are_declared(server: SmallServer, method: str, path: str):
    answer = good_request(server, method, path).send(server)
    declared = operation(method, path)["responses"]
    assert answer.ok, answer.text
    content = declared[str(answer.status_code)].get("content")
    if content is None:
        assert not answer.content
        return
    assert list(content) == [answer.headers["content-type"]]
    if "application/json" in content:
        schema = content["application/json"]["schema"]
        kinds = [each["$ref"].split("/")[-1] for each in schema.get("anyOf", [schema])]
        assert any(set(answer.json()) == set(ANSWERS[kind].model_fields) for kind in kinds)


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_call_that_is_refused_answers_a_status_and_code_that_are_declared(server: SmallServer, method: str, path: str):
    declared = operation(method, path)["responses"]
    refused = set()
    for request in bad_requests(good_request(server, method, path)):
        answer = request.send(server)
        if answer.ok:
            good_request(server, method, path)  # it may have deleted the subject
            continue
        problem = Problem.model_validate_json(answer.content)
        if problem.code == "unknown_path":  # an empty id: another path
            continue
        assert answer.headers["content-type"] == PROBLEM
        assert str(answer.status_code) in declared, (request, problem)
        assert problem.code in codes_of(declared[str(answer.status_code)]), (request, problem)
        assert all(name in answer.headers for name in declared[str(answer.status_code)].get("headers", ()))
        refused.add(problem.code)
    needs_key = bool(operation(method, path).get("security"))
    assert ("unauthorized" in refused) == needs_key == ("401" in declared)
    assert ("unknown_field" in refused) == path.startswith("/v1/")


def test_every_error_that_a_call_can_answer_is_declared_with_its_status():
    declared = set()
    for method, path in CALLS:
        for status, response in operation(method, path)["responses"].items():
            if not status.startswith("2"):
                declared |= {(int(status), code) for code in codes_of(response)}
    wanted = {listed for kind, listed in STATUS_AND_CODE.items() if kind not in NOT_OF_A_CALL}
    assert declared == wanted | {(500, "internal_error")}


def test_every_refusal_is_a_problem_document_and_says_what_its_codes_mean():
    for method, path in CALLS:
        for status, response in operation(method, path)["responses"].items():
            if not status.startswith("2"):
                assert list(response["content"]) == [PROBLEM]
                assert all(f"`{code}`: " in response["description"] for code in codes_of(response))
    assert DOCUMENT["components"]["schemas"]["Problem"]["required"]


def test_document_names_nothing_that_it_does_not_describe():
    def references(part: object) -> Iterator[str]:
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                yield part["$ref"]
            for value in part.values():
                yield from references(value)
        elif isinstance(part, list):
            for value in part:
                yield from references(value)

    named = set(references(DOCUMENT))
    described = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert named == described


OPERATIONS = {  # names in clients that were generated: they stay
    "embeddings": {"embed", "createEmbeddings"},
    "decisions": {"verify", "compare", "identify", "createChallenge"},
    "subjects": {
        *("enroll", "listSubjects", "getSubject", "changeSubject", "deleteSubject", "exportSubject"),
        *("deleteTemplate", "getReceiptKey"),
    },
    "analysis": {"classifySample", "transcribe", "pronounce", "generateSetting", "morphSettings"},
    "models": {"listModels"},
    "keys": {"listKeys", "createKey", "revokeKey"},
    "audit": {"readAudit"},
    "operation": {"healthz", "readyz", "metrics"},
}


def test_every_call_has_one_tag_and_a_name_of_its_own_that_stays():
    named: dict[str, list[str]] = {}
    for method, path in CALLS:
        (tag,) = operation(method, path)["tags"]
        named.setdefault(tag, []).append(operation(method, path)["operationId"])
    assert {tag: sorted(ids) for tag, ids in named.items()} == {tag: sorted(ids) for tag, ids in OPERATIONS.items()}
    assert [tag["name"] for tag in DOCUMENT["tags"]] == list(OPERATIONS)
    assert all(tag["description"] for tag in DOCUMENT["tags"])
