"""Cross-tenant: every call with another tenant's ids, by a key with all scopes, and the same with ids of nobody."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from loadtests.server import HOST
from loadtests.torture.attack.attack import Plan, Result
from loadtests.torture.attack.scene import ALL_SCOPES, MODEL, Scene, enrol, opened_scene, unit
from tests.factories.direct_embedder import DIM, sample_of

OWNER, STRANGER = "owners", "strangers"
TIMEOUT_S = 60.0
HEADERS = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Ids:
    """What a path or a body may name."""

    subject_id: str
    template_id: str
    key_id: str

    def names(self) -> Mapping[str, str]:
        """By the name of the parameter."""
        return {"subject_id": self.subject_id, "template_id": self.template_id, "key_id": self.key_id}


NOBODY = Ids("nobody-7f3a", "0" * 32, "0" * 12)


def walk_with_ids_of_another_tenant(plan: Plan) -> Result:
    """What differs from the answer about nobody, or names what was not sent, leaks; so does a change of the subject."""
    with opened_scene(plan.out / "tenants", plan.seed) as scene:
        owner, stranger = scene.key(OWNER, ALL_SCOPES), scene.key(STRANGER, ALL_SCOPES)
        person = unit(np.random.default_rng([plan.seed, 7]).normal(size=DIM))
        ids = _enrolled(scene, owner, person)
        before = _send(scene, owner, "GET", f"/v1/subjects/{ids.subject_id}", None)
        secrets = [*ids.names().values(), OWNER]
        tried = refused = 0
        leaks: list[str] = []
        for method, path in _operations(scene, stranger):
            told = [_call(scene, stranger, method, path, one, person) for one in (ids, NOBODY)]
            tried += 1
            refused += told[0][0] >= 400
            if told[0][0] != told[1][0] or _is_told(told[0][1], secrets):
                leaks.append(f"{method} {path}")
        after = _send(scene, owner, "GET", f"/v1/subjects/{ids.subject_id}", None)
        leaks += ["the subject was changed"] if after != before else []
        return Result(tried, refused, len(leaks), "; ".join(leaks) or "each answered like an id of nobody")


def _enrolled(scene: Scene, key: str, person: np.ndarray) -> Ids:
    answer = enrol(scene.caller(key), "owned-9c41", person).body
    keys = json.loads(_send(scene, key, "GET", "/v1/keys", None)[1])["keys"]
    return Ids("owned-9c41", answer["template_ids"][0], keys[0]["key_id"])


def _operations(scene: Scene, key: str) -> list[tuple[str, str]]:
    """Every call of the OpenAPI document, what deletes last."""
    document = json.loads(_send(scene, key, "GET", "/openapi.json", None)[1])
    found = [(method.upper(), path) for path, calls in document["paths"].items() for method in calls]
    return sorted(found, key=lambda call: (call[0] == "DELETE", call[1], call[0]))


def _call(scene: Scene, key: str, method: str, path: str, ids: Ids, person: np.ndarray) -> tuple[int, str]:
    """Status and text of the answer, in which what was sent is left out."""
    for name, value in ids.names().items():
        path = path.replace(f"{{{name}}}", value)
    fields = {"model": MODEL, "subject_id": ids.subject_id, "file": json.loads(sample_of(person))}
    body = {"/v1/keys": {"name": "walk"}, "/v1/challenges": {"subject_id": ids.subject_id}}.get(path, fields)
    if path == "/v1/enroll":
        body = {**fields, "subject_id": "own-1", "similar_to": ids.subject_id}
    if path in ("/v1/identify", "/v1/embed"):
        body = {name: value for name, value in fields.items() if name != "subject_id"}
    status, text = _send(scene, key, method, path, None if method in ("GET", "DELETE") else body)
    for value in ids.names().values():
        if value in path or value == body.get("subject_id"):
            text = text.replace(value, "")
    return status, text


def _is_told(text: str, secrets: list[str]) -> bool:
    return any(secret in text for secret in secrets)


def _send(scene: Scene, key: str, method: str, path: str, body: object) -> tuple[int, str]:
    connection = http.client.HTTPConnection(HOST, scene.server.port, timeout=TIMEOUT_S)
    try:
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {"Authorization": f"Bearer {key}", **(HEADERS if sent else {})})
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    finally:
        connection.close()
