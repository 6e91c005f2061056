"""Enrolments that are sent again with their Idempotency-Key, over HTTP."""

import base64
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from matchka.app import create_app
from matchka.settings import read_settings
from matchka.store.keys.keys import Keys
from matchka.store.keys.records import NO_CEILINGS, KeySpec
from matchka.store.keys.scopes import ALL_SCOPES, Scope
from matchka.store.store import opened_store
from tests.factories.bundles import dim_report, embedding_output, write_bundle
from tests.factories.samples import encoded, sample
from tests.factories.small_server import SmallServer, serving, small_settings

FIRST_KEY = "0123456789abcdef0123"
TIMEOUT_S = 120
AT_ONCE = 50
# made-up voices of different people are alike: only above this are two taken for one
POINTS = [(1e-1, 0.975), (1e-2, 0.985), (1e-3, 0.99)]
ADA, BEN = 2, 3
SILENCE = encoded(np.zeros(16000))
NUMBERS = itertools.count(1)
take = cache(sample)  # made once: a WAV file of numbers with a point tells the second in which it was made


@dataclass(frozen=True)
class Tenant:
    """A tenant of its own, and what one of its keys asks for."""

    server: SmallServer
    keys: Keys
    name: str = field(default_factory=lambda: f"tenant-{next(NUMBERS)}")

    def secret(self, without: frozenset[Scope] = frozenset()) -> str:
        secret = self.keys.create(KeySpec("test", self.name, ALL_SCOPES - without, NO_CEILINGS)).secret
        while self.ask(secret, "GET", "/v1/models").status_code == 401:
            pass
        return secret

    def ask(self, secret: str, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {secret}", **options.pop("headers", {})}
        return requests.request(method, self.server.url + path, headers=headers, timeout=TIMEOUT_S, **options)

    def enrol(self, secret: str, key: str | None, subject: str, *files: bytes, **fields: str) -> requests.Response:
        return self.ask(
            secret,
            "POST",
            "/v1/enroll",
            headers={"Idempotency-Key": key} if key is not None else {},
            data={"model": "voice", "subject_id": subject, **fields},
            files=[("file", ("a", file)) for file in files],
        )

    def template_ids(self, secret: str, subject: str) -> list[str]:
        found = self.ask(secret, "GET", f"/v1/subjects/{subject}").json()
        return sorted(template["template_id"] for template in found["templates"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SmallServer, Keys]]:
    folder: Path = tmp_path_factory.mktemp("idempotency")
    report = dim_report()
    for count in report["operating_points"]:
        report["operating_points"][count] = [
            {"fmr": fmr, "threshold": threshold, "measured": True} for fmr, threshold in POINTS
        ]
    write_bundle(folder / "models" / "voice", outputs={"embeddings": embedding_output(report=report)})
    settings = small_settings(folder, api_key=FIRST_KEY, failed_tries_per_hour=1000)
    with serving(settings) as running, opened_store(settings.effective_database_url) as store:
        yield running, store.keys


@pytest.fixture
def tenant(server: tuple[SmallServer, Keys]) -> Tenant:
    return Tenant(*server)


def require_problem(answer: requests.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert "Idempotency-Replayed" not in answer.headers


def told(answer: requests.Response) -> dict[str, Any]:
    """What an enrolment is answered but its position."""
    return {name: value for name, value in answer.json().items() if name != "position"}


def require_replayed(answer: requests.Response, first: requests.Response) -> None:
    assert first.status_code == answer.status_code == 201, answer.text
    assert "Idempotency-Replayed" not in first.headers
    assert answer.headers["Idempotency-Replayed"] == "true"
    assert told(answer) == told(first)
    assert answer.json()["position"] == answer.headers["Matchka-Position"]  # of now: it shows what came since, too


def test_enrolment_sent_again_stores_nothing_and_is_answered_as_it_was(tenant: Tenant):
    secret = tenant.secret()
    tenant.enrol(secret, None, "other", take(ADA, 9))
    given = (take(ADA), SILENCE, take(ADA, 1))
    first = tenant.enrol(secret, "k", "ada", *given, on_error="skip", mode="create")
    again = tenant.enrol(secret, "k", "ada", *given, on_error="skip", mode="create")
    require_replayed(again, first)
    assert [one["file"] for one in first.json()["skipped"]] == [2]
    assert [one["subject_id"] for one in first.json()["similar_subjects"]] == ["other"]
    assert tenant.template_ids(secret, "ada") == sorted(first.json()["template_ids"])


def test_same_enrolment_as_form_and_as_json_is_the_same_request(tenant: Tenant):
    secret = tenant.secret()
    first = tenant.enrol(secret, "k", "ada", take(ADA), metadata='{"a": 1, "b": "x"}')
    body = {
        "metadata": {"b": "x", "a": 1},
        "mode": "create_or_append",
        "file": [base64.b64encode(take(ADA)).decode()],
        "subject_id": "ada",
        "model": "voice",
    }
    again = tenant.ask(secret, "POST", "/v1/enroll", headers={"Idempotency-Key": "k"}, json=body)
    require_replayed(again, first)


@pytest.mark.parametrize(
    ("subject", "files", "fields"),
    [
        ("ben", [take(ADA)], {}),
        ("ada", [take(ADA, 1)], {}),
        ("ada", [take(ADA), take(ADA, 1)], {}),
        ("ada", [take(ADA)], {"consent": "form 7"}),
        ("ada", [take(ADA)], {"mode": "append"}),
    ],
)
def test_key_of_another_enrolment_is_refused(tenant: Tenant, subject: str, files: list[bytes], fields: dict[str, str]):
    secret = tenant.secret()
    first = tenant.enrol(secret, "k", "ada", take(ADA))
    require_problem(tenant.enrol(secret, "k", subject, *files, **fields), 422, "idempotency_key_reused")
    assert tenant.template_ids(secret, "ada") == first.json()["template_ids"]


def test_another_api_key_of_the_tenant_learns_nothing_by_the_same_idempotency_key(tenant: Tenant):
    """What it asks for is a request of its own: it is done, or refused as if nobody had ever used that key."""
    one, other = tenant.secret(), tenant.secret()
    tenant.enrol(one, "k", "ada", take(ADA))
    require_problem(tenant.enrol(other, "k", "ada", take(ADA)), 409, "duplicate_sample")
    own = tenant.enrol(other, "k", "ben", take(BEN))
    assert own.status_code == 201
    require_replayed(tenant.enrol(other, "k", "ben", take(BEN)), own)


def test_api_key_without_identify_or_scores_is_told_no_more_again_than_before(tenant: Tenant):
    full = tenant.secret()
    tenant.enrol(full, None, "other", take(ADA, 9))
    for number, without in enumerate((Scope.IDENTIFY, Scope.SCORES)):
        secret = tenant.secret(without=frozenset({without}))
        first = tenant.enrol(secret, "k", f"ada-{number}", take(ADA))
        require_replayed(tenant.enrol(secret, "k", f"ada-{number}", take(ADA)), first)
        seen = first.json()["similar_subjects"]
        assert seen is None if without is Scope.IDENTIFY else {one["similarity"] for one in seen} == {None}


def test_subject_that_was_deleted_is_in_no_answer_to_a_request_sent_again(tenant: Tenant):
    secret = tenant.secret()
    tenant.enrol(secret, None, "other", take(ADA, 9))
    first = tenant.enrol(secret, "k", "ada", take(ADA))
    tenant.ask(secret, "DELETE", "/v1/subjects/other")
    again = tenant.enrol(secret, "k", "ada", take(ADA))
    assert told(again) == {**told(first), "similar_subjects": []}
    tenant.ask(secret, "DELETE", "/v1/subjects/ada")
    require_problem(tenant.enrol(secret, "k", "ada", take(ADA)), 409, "enrolment_undone")
    assert tenant.ask(secret, "GET", "/v1/subjects/ada").status_code == 404
    assert tenant.enrol(secret, "new", "ada", take(ADA)).status_code == 201


def test_templates_that_were_deleted_do_not_change_the_answer(tenant: Tenant):
    secret = tenant.secret()
    first = tenant.enrol(secret, "k", "ada", take(ADA), take(ADA, 1))
    tenant.ask(secret, "DELETE", f"/v1/templates/{first.json()['template_ids'][0]}")
    require_replayed(tenant.enrol(secret, "k", "ada", take(ADA), take(ADA, 1)), first)


def test_enrolment_that_was_refused_leaves_its_key_free(tenant: Tenant):
    secret = tenant.secret()
    require_problem(tenant.enrol(secret, "k", "ada", SILENCE), 422, "silence")
    require_problem(tenant.enrol(secret, "k", "ada", take(ADA), mode="append"), 404, "unknown_subject")
    first = tenant.enrol(secret, "k", "ada", take(ADA))
    assert first.status_code == 201
    assert "Idempotency-Replayed" not in first.headers


def test_enrolments_sent_at_once_with_one_key_are_one(tenant: Tenant):
    secret = tenant.secret()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = [pool.submit(tenant.enrol, secret, "k", "ada", take(ADA)) for _ in range(AT_ONCE)]
        answers = [one.result() for one in asked]
    assert {answer.status_code for answer in answers} == {201}
    assert len({tuple(answer.json()["template_ids"]) for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert len(tenant.template_ids(secret, "ada")) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "\xe9".encode().decode("latin-1"), "a\tb"])
def test_key_that_is_none_is_refused_before_anything_is_stored(tenant: Tenant, key: str):
    secret = tenant.secret()
    require_problem(tenant.enrol(secret, key, "ada", take(ADA)), 422, "invalid_field")
    assert tenant.ask(secret, "GET", "/v1/subjects/ada").status_code == 404


def test_longest_key_of_every_visible_character_is_taken(tenant: Tenant):
    secret = tenant.secret()
    key = ("".join(map(chr, range(0x21, 0x7F))) * 3)[:255]
    first = tenant.enrol(secret, key, "ada", take(ADA))
    require_replayed(tenant.enrol(secret, key, "ada", take(ADA)), first)


def test_document_declares_the_header_of_the_request_and_of_the_answer():
    call = create_app(read_settings({})).openapi()["paths"]["/v1/enroll"]["post"]
    (declared,) = [one for one in call["parameters"] if one["name"] == "Idempotency-Key"]
    assert (declared["in"], declared["required"]) == ("header", False)
    assert "Idempotency-Replayed" in call["responses"]["201"]["headers"]
    codes = {
        code
        for status in ("409", "422")
        for code in call["responses"][status]["content"]["application/problem+json"]["schema"]["properties"]["code"][
            "enum"
        ]
    }
    assert {"idempotency_key_reused", "enrolment_undone"} <= codes
