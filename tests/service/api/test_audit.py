"""The audit log of a service: what is recorded of each call, by whom it is read, and what a flood leaves in it."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests
from fastapi import FastAPI
from starlette.requests import ClientDisconnect

from matchka.api.error_handlers import add_framework_error_handlers
from matchka.api.guards.audit_trail import AuditTrail, note_caller
from matchka.api.tracing.request_ids import RequestIds
from matchka.client.answers import AuditRecordAnswer
from matchka.errors import RequestFailedError
from matchka.store.audit.chain import START, linked
from matchka.store.audit.records import Event
from matchka.store.keys.records import KEYLESS, KeySpec
from matchka.store.keys.scopes import ALL_SCOPES, Scope
from matchka.store.store import opened_store
from matchka.store.subject_hash import read_hasher
from matchka.store.vault.vault import CLEAR
from tests.factories.bundles import write_bundle
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer, serving, small_settings

FIRST_KEY = "0123456789abcdef0123"
TIMEOUT_S = 20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SmallServer]:
    write_bundle(tmp_path / "models" / "voice")
    with serving(small_settings(tmp_path, api_key=FIRST_KEY)) as running:
        yield running


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it did not happen within 60 s"
        time.sleep(0.02)


def records(server: SmallServer, at_least: int, **query: str) -> list[AuditRecordAnswer]:
    """The log as soon as it has this many records beside those of reading it."""

    def found() -> list[AuditRecordAnswer]:
        page = server.client(FIRST_KEY).audit(1000, **query).records
        return [one for one in page if one.call != "GET /v1/audit"]

    until(lambda: len(found()) >= at_least)
    return found()


def ask(server: SmallServer, method: str, path: str, key: str | None = FIRST_KEY) -> requests.Response:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return requests.request(method, server.url + path, headers=headers, timeout=TIMEOUT_S)


def hashed(server: SmallServer, tenant: str, subject_id: str) -> str:
    return read_hasher(CLEAR, server.settings.subject_hash_key).hash_of(tenant, subject_id)


def test_calls_are_recorded_with_who_what_on_whom_and_the_decision(server: SmallServer):
    client = server.client(FIRST_KEY)
    found_nobody = client.identify(sample(5, 4))
    client.enroll("eva", [sample(1, 1), sample(1, 2)])
    verified = client.verify("eva", sample(1, 3))
    other = client.verify("eva", sample(9, 3))
    found_her = client.identify(sample(1, 4))
    compared = client.compare(sample(1, 5), sample(1, 6))
    client.embed([sample(1, 7)])
    client.subject("eva")
    client.delete_subject("eva")
    assert (verified.match, other.match, compared.match) == (True, False, True)
    assert (found_her.match, found_nobody.match) == ("eva", None)
    eva, version = hashed(server, "default", "eva"), verified.version
    found = [(one.call, one.outcome, one.subject, one.model, one.version, one.count) for one in records(server, 9)]
    assert sorted(map(str, found)) == sorted(
        str(one)
        for one in [
            ("POST /v1/enroll", "enrolled", eva, "voice", version, 2),
            ("POST /v1/verify", "match", eva, "voice", version, 1),
            ("POST /v1/verify", "no_match", eva, "voice", version, 1),
            ("POST /v1/identify", "match", eva, "voice", version, 1),
            ("POST /v1/identify", "unknown", None, "voice", version, 1),
            ("POST /v1/compare", "match", None, "voice", version, 1),
            ("POST /v1/embed", "done", None, "voice", version, 1),
            ("GET /v1/subjects/{subject_id}", "done", eva, None, None, 1),
            ("DELETE /v1/subjects/{subject_id}", "deleted", eva, None, None, 2),
        ]
    )
    every = records(server, 9)
    assert {(one.tenant, one.key_id) for one in every} == {("default", "first")}
    (match,) = [one for one in every if (one.call, one.outcome) == ("POST /v1/verify", "match")]
    assert match.threshold == verified.threshold


def test_records_hold_no_name_and_no_score_and_their_chain_is_whole(server: SmallServer):
    client = server.client(FIRST_KEY)
    client.enroll("eva-marie", [sample(1, 1)])
    verified = client.verify("eva-marie", sample(1, 3))
    records(server, 2)
    with closing(sqlite3.connect(server.settings.data_dir / "matchka.sqlite")) as connection:
        rows = connection.execute("SELECT * FROM audit_log ORDER BY sequence").fetchall()
    assert "eva" not in str(rows)
    assert str(verified.similarity)[:8] not in str(rows)
    before = START
    for row in rows:
        fields = [row[0], f"{row[1].replace(' ', 'T')}Z", *row[2:-1]]
        before = linked(before, json.dumps(fields, separators=(",", ":")).encode())
        assert before == row[-1]


def test_request_id_of_an_answer_is_that_of_its_record(server: SmallServer):
    answer = ask(server, "GET", "/v1/models")
    missing = ask(server, "GET", "/v1/subjects/nobody")
    found = {one.request_id: one.outcome for one in records(server, 2)}
    assert found[answer.headers["Matchka-Request-Id"]] == "done"
    assert found[missing.headers["Matchka-Request-Id"]] == "refused"


def test_id_that_a_caller_chose_is_in_the_answer_and_never_in_the_record(server: SmallServer):
    given = {"Authorization": f"Bearer {FIRST_KEY}", "X-Request-ID": "ada@example.org"}
    answer = requests.get(f"{server.url}/v1/models", headers=given, timeout=TIMEOUT_S)
    assert answer.headers["X-Request-ID"] == "ada@example.org"
    (record,) = records(server, 1)
    assert record.request_id == answer.headers["Matchka-Request-Id"] != "ada@example.org"


def test_refusals_are_recorded_with_their_codes(server: SmallServer):
    with opened_store(server.settings.effective_database_url) as store:
        key = store.keys.create(KeySpec("no right", "default", frozenset({Scope.METRICS}))).secret
    until(lambda: ask(server, "GET", "/metrics", key).ok)
    ask(server, "GET", "/v1/subjects/nobody")
    ask(server, "DELETE", "/v1/subjects/nobody", key)
    ask(server, "GET", "/v1/nothing/here")
    found = {(one.call, one.detail) for one in records(server, 3) if one.outcome == "refused"}
    assert found >= {
        ("GET /v1/subjects/{subject_id}", "unknown_subject"),
        ("DELETE /v1/subjects/{subject_id}", "missing_scope"),
        ("unknown", "unknown_path"),
    }
    assert {one.subject for one in records(server, 3) if one.detail == "unknown_subject"} == {
        hashed(server, "default", "nobody")
    }


def test_flood_of_wrong_keys_leaves_few_records_that_count_them(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    settings = small_settings(tmp_path, api_key=FIRST_KEY)
    with serving(settings) as server:
        refused = 0
        for number in range(30):  # the eleventh and those behind it are slowed
            refused += ask(server, "GET", "/v1/models", f"wrong-{number}").status_code == 401
        assert refused == 30
    with closing(sqlite3.connect(settings.data_dir / "matchka.sqlite")) as connection:
        query = "SELECT count, tenant, key_id, network FROM audit_log WHERE detail = 'unauthorized' ORDER BY sequence"
        found = connection.execute(query).fetchall()
    assert found[:1] == [(1, None, None, "127.0.0.1")]
    assert sum(count for count, *_ in found) == 30
    assert len(found) == 2


def test_answers_that_cannot_be_made_for_want_of_a_key_are_shown_to_the_operator_only(server: SmallServer):
    ask(server, "GET", "/v1/models", "wrong")
    assert [one.network for one in records(server, 1) if one.detail == "unauthorized"] == ["127.0.0.1"]
    with opened_store(server.settings.effective_database_url) as store:
        key = store.keys.create(KeySpec("auditor", "default", frozenset({Scope.AUDIT_READ}))).secret
    until(lambda: ask(server, "GET", "/v1/audit", key).ok)
    assert "unauthorized" not in ask(server, "GET", "/v1/audit", key).text


def test_page_after_page_tells_each_record_once_and_no_other_tenants(server: SmallServer):
    with opened_store(server.settings.effective_database_url) as store:
        hers = store.keys.create(KeySpec("hers", "another", ALL_SCOPES)).secret
    until(lambda: ask(server, "GET", "/v1/models", hers).ok)
    client = server.client(FIRST_KEY)
    for number in range(3):
        client.enroll(f"eva-{number}", [sample(number + 1, 1)])
        server.client(hers).enroll(f"ada-{number}", [sample(number + 1, 1)])
    seen, cursor = [], ""
    while cursor is not None:
        page = client.audit(2, cursor or None)
        seen += [one.subject for one in page.records if one.outcome == "enrolled"]
        cursor = page.next_cursor
        assert 1 <= len(page.records) <= 2
    assert seen == [hashed(server, "default", f"eva-{number}") for number in range(3)]
    mine = [one.subject for one in server.client(hers).audit(1000).records if one.outcome == "enrolled"]
    assert mine == [hashed(server, "another", f"ada-{number}") for number in range(3)]


def test_records_of_one_subject_are_found_by_its_id(server: SmallServer):
    client = server.client(FIRST_KEY)
    for name in ("eva", "ada"):
        client.enroll(name, [sample(1 if name == "eva" else 2, 1)])
        client.verify(name, sample(1, 2))
    assert [one.outcome for one in records(server, 2, subject_id="eva")] == ["enrolled", "match"]
    assert records(server, 0, subject_id="nobody") == []


@pytest.mark.parametrize("cursor", ["", "7", "AAAAAAAAAAAAAAAAAAAAAA==", "é", "x" * 300])
def test_cursor_of_ones_own_making_is_refused(server: SmallServer, cursor: str):
    with pytest.raises(RequestFailedError) as caught:
        server.client(FIRST_KEY).audit(10, cursor)
    assert caught.value.code == "invalid_field"


def test_threshold_is_shown_with_the_scope_scores_only(server: SmallServer):
    client = server.client(FIRST_KEY)
    client.enroll("eva", [sample(1, 1)])
    client.verify("eva", sample(1, 2))
    assert [one.threshold is None for one in records(server, 2)] == [True, False]
    with opened_store(server.settings.effective_database_url) as store:
        key = store.keys.create(KeySpec("auditor", "default", frozenset({Scope.AUDIT_READ}))).secret
    until(lambda: ask(server, "GET", "/v1/audit", key).ok)
    assert {one["threshold"] for one in ask(server, "GET", "/v1/audit", key).json()["records"]} == {None}


def test_changes_of_keys_are_recorded_with_their_ids(server: SmallServer):
    client = server.client(FIRST_KEY)
    made = client.create_key("one", "verify")
    client.revoke_key(made.key_id)
    client.revoke_key(made.key_id)  # changes nothing
    found = [(one.call, one.outcome, one.detail) for one in records(server, 3)]
    assert found == [
        ("POST /v1/keys", "created", f"key {made.key_id}"),
        ("DELETE /v1/keys/{key_id}", "revoked", f"key {made.key_id}"),
        ("DELETE /v1/keys/{key_id}", "done", None),
    ]


def test_metrics_count_the_records(server: SmallServer):
    ask(server, "GET", "/v1/models")
    records(server, 1)
    shown = ask(server, "GET", "/metrics").text
    assert "matchka_audit_lost_total 0.0" in shown
    assert "matchka_audit_waiting" in shown
    (written,) = [line for line in shown.splitlines() if line.startswith("matchka_audit_records_total ")]
    assert float(written.split()[1]) >= 1


def test_service_without_an_audit_log_records_nothing(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    with serving(small_settings(tmp_path, audit={"enabled": False})) as server:
        server.client().enroll("eva", [sample(1, 1)])
        assert server.client().audit().records == []
        assert "Matchka-Request-Id" in ask(server, "GET", "/v1/models", None).headers
    assert not (tmp_path / "data" / "audit.checkpoint").exists()


def test_caller_without_a_key_where_none_is_in_force_is_keyless(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    with serving(small_settings(tmp_path)) as server:
        server.client().enroll("eva", [sample(1, 1)])
        assert [one.key_id for one in server.client().audit().records] == ["keyless"]


def test_call_whose_client_left_is_recorded_as_that():
    log = []
    asked = {
        "type": "http",
        "method": "GET",
        "path": "/v1/left",
        "headers": [],
        "query_string": b"",
        "client": ("::1", 1),
    }

    async def left() -> None:
        note_caller(KEYLESS)
        raise ClientDisconnect

    app = FastAPI()
    add_framework_error_handlers(app)
    app.get("/v1/left")(left)

    class Writer:
        def submit(self, event: Event) -> None:
            log.append((event.outcome, event.key_id, event.detail))

    async def nothing(*_: object) -> dict[str, object]:
        return {"type": "http.request", "body": b""}

    asyncio.run(RequestIds(AuditTrail(app, Writer))(asked, nothing, nothing))
    assert log == [("refused", "keyless", "client_gone")]


def test_browsers_question_before_a_call_is_not_recorded(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    settings = small_settings(tmp_path, api_key=FIRST_KEY, allowed_origins=("https://a.example",))
    with serving(settings) as server:
        headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
        assert requests.options(server.url + "/v1/models", headers=headers, timeout=TIMEOUT_S).ok
    with opened_store(settings.effective_database_url) as store:
        assert store.audit.page("default", 10, with_nobodys=True) == []


def test_shutdown_writes_what_was_still_waiting(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    settings = small_settings(tmp_path)
    with serving(settings) as server:
        before = server.client().audit().records
        for _ in range(20):
            ask(server, "GET", "/v1/models", None)
    with opened_store(settings.effective_database_url) as store:
        found = store.audit.page("default", 1000)
    assert [one.call for one in found].count("GET /v1/models") == 20
    assert before == []
