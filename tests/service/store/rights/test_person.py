"""An export of one person against the database, read past the program."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matchka.store.attempts import AttemptRules
from matchka.store.challenges import ChallengeLimits
from matchka.store.idempotency.answers import OnceRecording
from matchka.store.idempotency.requests import named_request
from matchka.store.rights.person import Person
from matchka.store.rights.terms import TermsChange
from matchka.store.store import Store, opened_store
from matchka.store.subject_hash import SubjectHasher
from matchka.store.vault.open_vault import opened_vault
from matchka.store.vault.vault import CLEAR
from tests.factories.unit_vectors import unit_vectors
from tests.factories.vaults import VaultFolder, vault_folder

units = partial(unit_vectors, dim=8)
HASHER = SubjectHasher(b"h" * 32)
# tables, and what is told of each row of them; what is left out only joins rows, or repeats others
TOLD = {
    "templates": ("template_id", "model", "version", "created_at", "row_count", "condition", "embedding"),
    "subject_references": ("model", "version", "template_count", "row_count", "condition", "embedding"),
    "challenges": ("kind", "content", "issued_at", "expires_at", "used_at"),
    "attempts": ("key_id", "level", "strikes", "updated_at", "blocked_until"),
}
NOT_TOLD = {
    "templates": {"subject_key", "digest"},
    "subject_references": {"subject_key", "digest"},
    "challenges": {"number", "challenge_id", "subject_key"},  # whoever knows the id could answer it
    "attempts": {"subject_key"},
}
OF_AUDIT = (
    *("sequence", "at", "outcome", "call", "tenant", "key_id", "subject", "model", "version", "threshold", "detail"),
    *("network", "request_id", "count"),
)
OF_SUBJECTS = {"key", "tenant", "subject_id", "created_at", "key_id", "expires_at"}
WITHOUT_PEOPLE = {
    "schema_version",
    "schema_revision",
    "store_identity",
    "key_store_identity",
    "key_erasures",
    "api_keys",
    "audit_head",
    "change_horizon",
    "idempotency_keys",  # their times are told with the answers
}
# of changes there are only the numbers of subjects, which are never given again
ELSEWHERE = {"subjects", "subject_terms", "deletions", "deletion_horizon", "audit_log", "changes", "enrolment_answers"}


@contextmanager
def opened(folder: VaultFolder, sealed: bool) -> Iterator[Store]:
    if not sealed:
        with opened_store(folder.url, CLEAR, hasher=HASHER, is_audited=True) as store:
            yield store
        return
    with (
        opened_vault(folder.plan) as vault,
        opened_store(folder.url, vault, hasher=HASHER, is_audited=True) as store,
    ):
        store.require_keys()
        yield store


def answered(name: str) -> OnceRecording:
    request = named_request(HASHER, "t", "first", name, b"")
    return OnceRecording(
        request, lambda enrolment: json.dumps({"of": name, "kept": len(enrolment.template_ids)}).encode()
    )


def fill(store: Store) -> None:
    terms = TermsChange("form 7", "doors", datetime(2090, 1, 1, tzinfo=UTC), {"badge": 7})
    store.add_templates("t", "ada", "voice", "1", units(3), [4, 5, 6], terms=terms)
    store.add_templates("t", "ada", "radio", "2", units(2, 1), [7, None], [1.5, -2.0], recording=answered("ada"))
    store.add_templates("t", "ben", "voice", "1", units(2, 5), terms=TermsChange("form 8"), recording=answered("ben"))
    store.add_templates("u", "ada", "voice", "1", units(2, 6), terms=TermsChange("form 9"))
    for name in ("ada", "ben"):
        store.challenges.issue("t", name, "phrase", ChallengeLimits(60.0, 9, 20), lambda _: ("one", "two"))
        store.attempts.note_failed("key", "t", name, 3, AttemptRules(1, 60.0))
    store.delete_template("t", store.subject("t", "ada").templates[0].template_id)


def cells(rows: list[Any], columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """Cells of what an export tells, as the database has them."""

    def cell(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.strftime("%Y-%m-%d %H:%M:%S.%f")
        return np.asarray(value, "<f4").tobytes() if isinstance(value, list) else value

    return sorted((tuple(cell(asdict(row)[name]) for name in columns) for row in rows), key=repr)


@pytest.mark.parametrize("sealed", [False, True], ids=["clear", "vault"])
def test_export_tells_every_row_of_the_person_and_none_of_others(tmp_path: Path, sealed: bool):
    in_clear = vault_folder(tmp_path / "clear")
    with opened(in_clear, False) as store:
        fill(store)
    folder = in_clear
    if sealed:
        folder = vault_folder(tmp_path / "vault")
        with opened(folder, True) as store:
            fill(store)
    with opened(folder, sealed) as store:
        person = store.rights.person("t", "ada")
        service = store.identity
    assert (person.tenant, person.subject_id, person.service) == ("t", "ada", service)
    assert (person.is_encrypted, person.subject_hash) == (sealed, HASHER.hash_of("t", "ada"))
    connection = sqlite3.connect(folder.database)
    ((key, created_at, expires_at),) = connection.execute(
        "SELECT key, created_at, expires_at FROM subjects WHERE tenant = 't' AND subject_id = 'ada'"
    ).fetchall()
    assert cells([person], ("created_at",)) == [(created_at,)]
    assert cells([person.terms], ("expires_at",)) == [(expires_at,)]
    assert (person.terms.consent, person.terms.purpose, person.terms.metadata) == ("form 7", "doors", {"badge": 7})
    told = {
        "templates": person.templates,
        "subject_references": person.references,
        "challenges": person.challenges,
        "attempts": person.attempts,
    }
    for table, columns in TOLD.items():
        if sealed:  # the embeddings are ciphertexts there
            columns = tuple(name for name in columns if name != "embedding")
        quoted = ", ".join(f'"{name}"' for name in columns)
        query = f"SELECT {quoted} FROM {table} WHERE subject_key = ?"
        expected = sorted(connection.execute(query, (key,)).fetchall(), key=repr)
        assert cells(told[table], columns) == expected
        assert expected
    deleted = connection.execute("SELECT template_id, deleted_at FROM deletions").fetchall()
    assert cells(person.deletions, ("template_id", "deleted_at")) == deleted
    audited = connection.execute(
        f"SELECT {', '.join(OF_AUDIT)} FROM audit_log WHERE subject = ?", (HASHER.hash_of("t", "ada"),)
    ).fetchall()
    assert cells(list(person.audit), OF_AUDIT) == sorted(audited, key=repr)
    assert [one.outcome for one in person.audit] == ["enrolled", "enrolled", "deleted"]
    (answer,) = person.answers
    assert answer.answer == {"of": "ada", "kept": 2}
    times = connection.execute("SELECT created_at FROM idempotency_keys").fetchall()
    assert cells(person.answers, ("answered_at",))[0] in times
    connection.close()


@pytest.mark.parametrize("sealed", [False, True], ids=["clear", "vault"])
def test_embeddings_of_an_export_are_those_that_were_enrolled(tmp_path: Path, sealed: bool):
    folder = vault_folder(tmp_path)
    with opened(folder, sealed) as store:
        store.add_templates("t", "ada", "voice", "1", units(3))
        person: Person = store.rights.person("t", "ada")
    found = np.asarray([one.embedding for one in person.templates], np.float32)
    assert {row.tobytes() for row in found} == {row.tobytes() for row in units(3)}
    (reference,) = person.references
    np.testing.assert_allclose(reference.embedding, units(3).mean(axis=0), atol=1e-7)


def test_no_table_or_column_was_added_that_an_export_does_not_tell(tmp_path: Path):
    folder = vault_folder(tmp_path)
    with opened(folder, False):
        pass
    connection = sqlite3.connect(folder.database)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    columns = {table: {row[1] for row in connection.execute(f"PRAGMA table_info({table})")} for table in tables}
    connection.close()
    assert {name for name in tables if not name.startswith("sqlite_")} == TOLD.keys() | WITHOUT_PEOPLE | ELSEWHERE
    assert {table: columns[table] - set(TOLD[table]) for table in TOLD} == NOT_TOLD
    assert columns["subjects"] == OF_SUBJECTS
    assert columns["enrolment_answers"] == {"name", "subject_key", "answer"}
    assert columns["audit_log"] - set(OF_AUDIT) == {"hash"}
