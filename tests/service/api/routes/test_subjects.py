"""What a person can ask, over HTTP: why it is enrolled, all that is held, a change, and the receipt of an erasure."""

import base64
import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from matchka.client import Client
from matchka.errors import RequestFailedError
from matchka.settings import Settings
from matchka.store.keys.keys import Keys
from matchka.store.keys.records import NO_CEILINGS, KeySpec
from matchka.store.keys.scopes import ALL_SCOPES, DEFAULT_SCOPES, Scope
from matchka.store.rights.receipt import verify_receipt
from matchka.store.store import opened_store
from tests.factories.bundles import write_bundle
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer, serving, small_settings

TIMEOUT_S = 60
LATER = datetime(2090, 1, 1, tzinfo=UTC)
TERMS: dict[str, Any] = {"consent": "form 7", "purpose": "doors", "expires_at": LATER, "metadata": {"badge": 7}}


def data_of(server: SmallServer) -> Path:
    return server.settings.data_dir


def patched(server: SmallServer, subject: str, **given: Any) -> requests.Response:
    return requests.patch(f"{server.url}/v1/subjects/{subject}", timeout=TIMEOUT_S, **given)


def require_problem(answer: requests.Response, status: int, code: str, value: str | None = None) -> None:
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert value is None or problem["value"] == value


def test_terms_of_an_enrolment_are_shown_with_the_subject(small_server: SmallServer):
    client = small_server.client()
    client.enroll("shown", [sample(1)], **TERMS)
    client.enroll("plain", [sample(2)])
    seen = client.subject("shown")
    assert {name: getattr(seen, name) for name in TERMS} == TERMS
    seen = client.subject("plain")
    assert [getattr(seen, name) for name in TERMS] == [None, None, None, {}]


def test_enrolment_in_json_takes_metadata_as_an_object(small_server: SmallServer):
    body = {
        "model": "voice",
        "subject_id": "json",
        "file": base64.b64encode(sample(3)).decode(),
        "metadata": {"badge": 7, "team": "a"},
        "expires_at": "2090-01-01T01:00:00+01:00",
    }
    answer = requests.post(f"{small_server.url}/v1/enroll", json=body, timeout=TIMEOUT_S)
    assert answer.status_code == 201, answer.text
    seen = small_server.client().subject("json")
    assert (seen.metadata, seen.expires_at) == ({"badge": 7, "team": "a"}, LATER)


@pytest.mark.parametrize(
    "given",
    [
        {"expires_at": "2090-01-01"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": ""},
        {"consent": "x" * 257},
        {"consent": ""},
        {"purpose": "a\nb"},
        {"metadata": "[1]"},
        {"metadata": '{"a": {"b": 1}}'},
    ],
)
def test_enrolment_with_terms_that_cannot_be_is_refused_whole(small_server: SmallServer, given: dict[str, str]):
    fields = {"model": "voice", "subject_id": "refused", **given}
    files = {"file": ("clip", sample(4))}
    answer = requests.post(f"{small_server.url}/v1/enroll", data=fields, files=files, timeout=TIMEOUT_S)
    require_problem(answer, 422, "invalid_field")
    assert "refused" not in [one.subject_id for one in small_server.client().subjects(1000).subjects]


def test_change_sets_leaves_and_removes(small_server: SmallServer):
    client = small_server.client()
    client.enroll("changed", [sample(5)], **TERMS)
    answer = client.change_subject("changed", purpose="", metadata={})
    assert (answer.consent, answer.purpose, answer.expires_at, answer.metadata) == ("form 7", None, LATER, {})
    answer = client.change_subject("changed", consent="form 8", expires_at="")
    assert (answer.consent, answer.expires_at) == ("form 8", None)
    answer = client.change_subject("changed", expires_at=LATER + timedelta(days=1), metadata={"a": 0.5})
    assert (answer.expires_at, answer.metadata) == (LATER + timedelta(days=1), {"a": 0.5})
    assert patched(small_server, "changed", json={"metadata": {"b": "c"}, "purpose": None}).json()["metadata"] == {
        "b": "c"
    }
    assert client.subject("changed").metadata == {"b": "c"}
    require_problem(patched(small_server, "changed", json={"expires_at": "2020-01-01T00:00:00Z"}), 422, "invalid_field")
    require_problem(patched(small_server, "changed", json={"unknown": "a"}), 422, "unknown_field", "unknown")
    require_problem(patched(small_server, "nobody", json={"consent": "a"}), 404, "unknown_subject", "nobody")


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[SmallServer]:
    write_bundle(tmp_path / "models" / "voice")
    with serving(small_settings(tmp_path, enrolment_requires="consent,purpose")) as running:
        yield running


def test_enrolment_without_what_the_setting_requires_says_how(strict: SmallServer):
    client = strict.client()
    with pytest.raises(RequestFailedError) as refused:
        client.enroll("ada", [sample(1)], consent="form 7")
    assert (refused.value.status, refused.value.code, refused.value.value) == (422, "consent_required", "purpose")
    assert "Send purpose" in refused.value.remedy
    assert client.subjects().subjects == []
    client.enroll("ada", [sample(1)], consent="form 7", purpose="doors")
    client.enroll("ada", [sample(1, 1)])  # it has both
    require_problem(patched(strict, "ada", json={"consent": ""}), 422, "consent_required", "consent")
    assert client.subject("ada").consent == "form 7"


def expire(server: SmallServer, subject: str) -> None:
    connection = sqlite3.connect(data_of(server) / "matchka.sqlite")
    connection.execute("UPDATE subjects SET expires_at = '2001-01-01 00:00:00.000000' WHERE subject_id = ?", (subject,))
    connection.commit()
    connection.close()


def test_expired_subject_is_unknown_to_every_call_at_once(small_server: SmallServer):
    client = small_server.client()
    client.enroll("gone", [sample(6)], **TERMS)
    assert client.identify(sample(6, 1)).match is not None
    assert "gone" in {one.subject_id for one in client.identify(sample(6, 1), top_k=100).candidates}
    expire(small_server, "gone")
    calls: list[Callable[[], Any]] = [
        lambda: client.verify("gone", sample(6, 1)),
        lambda: client.subject("gone"),
        lambda: client.export_subject("gone"),
        lambda: client.change_subject("gone", consent="a"),
    ]
    for call in calls:
        with pytest.raises(RequestFailedError) as refused:
            call()
        assert (refused.value.status, refused.value.code) == (404, "unknown_subject")
    found = client.identify(sample(6, 1), top_k=100)
    assert found.match != "gone"  # the small model may take the sample for somebody else of this server
    assert "gone" not in {one.subject_id for one in found.candidates}
    assert "gone" not in {one.subject_id for one in client.subjects(1000).subjects}


def test_export_has_what_was_enrolled(small_server: SmallServer):
    client = small_server.client()
    client.enroll("whole", [sample(7), sample(7, 1)], **TERMS)
    answer = client.export_subject("whole")
    expected = [client.embed([sample(7, take)]).embeddings[0] for take in (0, 1)]
    found = [one.embedding for one in answer.templates]
    np.testing.assert_allclose(sorted(found), sorted(expected), atol=1e-6)
    assert [one.template_id for one in answer.templates] == [t.template_id for t in client.subject("whole").templates]
    np.testing.assert_allclose(answer.references[0].embedding, np.mean(expected, axis=0), atol=1e-6)
    assert {name: getattr(answer.terms, name) for name in TERMS} == TERMS
    assert (answer.format, answer.subject_id, answer.is_encrypted) == ("matchka-subject-export-1", "whole", False)
    told = [(one.outcome, one.call, one.count, one.subject) for one in answer.audit if one.outcome == "enrolled"]
    assert told == [("enrolled", "POST /v1/enroll", 2, answer.subject_hash)]


def test_deletion_answers_nothing_unless_a_receipt_is_asked_for(small_server: SmallServer):
    client = small_server.client()
    client.enroll("plainly", [sample(8)])
    answer = requests.delete(f"{small_server.url}/v1/subjects/plainly", timeout=TIMEOUT_S)
    assert (answer.status_code, answer.content) == (204, b"")
    client.enroll("with.a.receipt", [sample(8, 1)], **TERMS)
    ids = [one.template_id for one in client.subject("with.a.receipt").templates]
    answer = requests.delete(f"{small_server.url}/v1/subjects/with.a.receipt?receipt=true", timeout=TIMEOUT_S)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    receipt = verify_receipt(answer.content, client.receipt_key().public_key)
    assert receipt.template_ids == ids
    assert (receipt.erased.templates, receipt.erased.terms, receipt.complete) == (1, 1, True)
    for path in data_of(small_server).rglob("*"):
        assert not path.is_file() or b"with.a.receipt" not in path.read_bytes(), path
    with pytest.raises(RequestFailedError) as refused:
        client.receipt_of_deletion("with.a.receipt")
    assert refused.value.code == "unknown_subject"


def test_receipts_of_one_service_are_checked_by_its_key_after_a_restart(
    settings: Settings, start_small_server: Callable[[Settings], SmallServer]
):
    first = start_small_server(settings)
    first.client().enroll("ada", [sample(1)])
    receipt = first.client().receipt_of_deletion("ada").model_dump_json().encode()
    key_file = settings.data_dir / "subject-hash.key"
    assert key_file.stat().st_mode & 0o077 == 0
    with opened_store(settings.effective_database_url):
        pass  # beside the service
    assert verify_receipt(receipt, first.client().receipt_key().public_key)
    other = start_small_server(small_settings(settings.models_dir.parent, data_dir=settings.data_dir.parent / "other"))
    assert other.client().receipt_key().public_key != first.client().receipt_key().public_key


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SmallServer, Callable[[set[Scope]], Client]]]:
    folder = tmp_path_factory.mktemp("guarded")
    write_bundle(folder / "models" / "voice")
    settings = small_settings(folder, api_key="0123456789abcdef0123")
    with serving(settings) as running, opened_store(settings.effective_database_url) as store:
        keys: Keys = store.keys

        def client(scopes: set[Scope]) -> Client:
            secret = keys.create(KeySpec("k", "default", frozenset(scopes), NO_CEILINGS)).secret
            headers = {"Authorization": f"Bearer {secret}"}
            while requests.get(f"{running.url}/v1/models", headers=headers, timeout=TIMEOUT_S).status_code == 401:
                pass
            return running.client(secret)

        yield running, client


def test_key_without_append_or_deletion_changes_nobodys_terms(
    guarded: tuple[SmallServer, Callable[[set[Scope]], Client]],
):
    _, client = guarded
    everything = client(set(ALL_SCOPES))
    default, appends = client(set(DEFAULT_SCOPES)), client({*DEFAULT_SCOPES, Scope.APPEND})
    default.enroll("ada", [sample(1)], **TERMS)  # who is new has no terms yet
    soon = {"expires_at": datetime.now(UTC) + timedelta(hours=1)}
    for caller, given, scope in ((default, soon, "append"), (appends, soon, "subjects.delete")):
        with pytest.raises(RequestFailedError) as refused:
            caller.enroll("ada", [sample(1, 2)], **given)
        assert (refused.value.code, refused.value.value) == ("missing_scope", scope)
    assert [one.level for one in everything.export_subject("ada").attempts] == [1.0, 1.0]  # of two keys
    for call in (lambda: appends.change_subject("ada", consent="x"), lambda: appends.export_subject("ada")):
        with pytest.raises(RequestFailedError) as refused:
            call()
        assert (refused.value.code, refused.value.value) == ("missing_scope", "admin")
    assert {name: getattr(everything.subject("ada"), name) for name in TERMS} == TERMS
    appends.enroll("ada", [sample(1, 3)], consent="form 8")
    assert everything.subject("ada").consent == "form 8"
    assert json.loads(everything.export_subject("ada").model_dump_json())["terms"]["consent"] == "form 8"
