"""Erasure: on request or at the end of a subject's time, everything of it and nothing of others, in one transaction."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matchka.errors import ChallengeNotRedeemableError, LikelyDuplicateError, TooManyAttemptsError, UnknownSubjectError
from matchka.store.attempts import AttemptRules
from matchka.store.challenges import ChallengeLimits
from matchka.store.enrolment_review import Review
from matchka.store.records import Reference
from matchka.store.rights.terms import Terms, TermsChange
from matchka.store.store import Store, opened_store
from matchka.store.subject_hash import SubjectHasher
from matchka.store.vault.open_vault import opened_vault
from tests.factories.unit_vectors import unit_vectors
from tests.factories.vaults import VaultFolder, vault_folder

units = partial(unit_vectors, dim=8)
LATER = datetime(2090, 1, 1, tzinfo=UTC)
HASHER = SubjectHasher(b"h" * 32)
NAME = "ada.the-one-whose-name-is-looked-for"
TABLES = ("subjects", "subject_terms", "templates", "subject_references", "challenges", "attempts", "key_erasures")
LIMITS = ChallengeLimits(60.0, 9, 20)


@pytest.fixture
def folder(tmp_path: Path) -> VaultFolder:
    return vault_folder(tmp_path)


@pytest.fixture
def store(folder: VaultFolder) -> Iterator[Store]:
    with (
        opened_vault(folder.plan) as vault,
        opened_store(folder.url, vault, hasher=HASHER, is_audited=True) as opened,
    ):
        opened.require_keys()
        assert opened.wait_until_erased(60.0)  # the log is emptied once at the start, and not in the middle of a test
        yield opened


def enrol(store: Store, name: str, seed: int = 0, model: str = "voice") -> tuple[str, ...]:
    terms = TermsChange("form of " + name, expires_at=LATER)
    return store.add_templates("t", name, model, "1", units(2, seed), terms=terms).template_ids


def expire(folder: VaultFolder, *names: str) -> None:
    """Move the end of subjects' time into the past; the first ones named ended first."""
    connection = sqlite3.connect(folder.database)
    for number, name in enumerate(names):
        when = f"2001-01-01 00:00:{number:02d}.000000"
        connection.execute("UPDATE subjects SET expires_at = ? WHERE subject_id = ?", (when, name))
    connection.commit()
    connection.close()


def use(store: Store, name: str) -> None:
    """Ask a subject something, and fail at it."""
    store.challenges.issue("t", name, "phrase", LIMITS, lambda _: ("one", "two"))
    store.attempts.note_failed("key", "t", name, 3, AttemptRules(1, 60.0))


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    found = connection.execute(query).fetchall()
    connection.close()
    return found


def counts(folder: VaultFolder) -> list[int]:
    return [rows(folder.database, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES]


def test_deletion_tells_and_removes_all_that_was_held_and_nothing_of_others(store: Store, folder: VaultFolder):
    enrol(store, "ben", 5)
    use(store, "ben")
    before = counts(folder)
    ids = [*enrol(store, NAME), *enrol(store, NAME, 1, "face")]
    use(store, NAME)
    erasure = store.delete_subject("t", NAME)
    assert erasure.template_ids == tuple(sorted(ids))
    told = (erasure.references, erasure.challenges, erasure.attempts, erasure.terms, erasure.has_key)
    assert told == (2, 1, 1, 1, True)
    assert counts(folder) == before
    assert store.rights.terms("t", "ben").consent == "form of ben"
    noted = rows(folder.database, "SELECT template_id, subject_hash FROM deletions ORDER BY 1")
    assert noted == [(one, HASHER.hash_of("t", NAME)) for one in sorted(ids)]


@pytest.mark.parametrize("how", ["request", "expiry", "last template"])
def test_id_of_a_deleted_subject_is_in_no_file(store: Store, folder: VaultFolder, how: str):
    def files() -> set[str]:
        return {path.name for path in folder.path.rglob("*") if path.is_file() and NAME.encode() in path.read_bytes()}

    ids = enrol(store, NAME)
    use(store, NAME)
    assert "matchka.sqlite-wal" in files()  # the search finds what is there
    if how == "request":
        store.delete_subject("t", NAME)
    elif how == "expiry":
        expire(folder, NAME)
        assert len(store.delete_expired(10)) == 1
        assert store.wait_until_erased(60.0)
    else:
        for one in ids:
            store.delete_template("t", one)
    assert files() == set()
    assert rows(folder.database, "SELECT count(*) FROM deletions") == [(2,)]
    assert counts(folder) == [0] * len(TABLES)
    deleted = rows(folder.database, "SELECT subject, sum(count) FROM audit_log WHERE outcome = 'deleted' GROUP BY 1")
    assert deleted == [(HASHER.hash_of("t", NAME), 2)]


def test_expired_subject_is_unknown_at_once_and_its_rows_are_still_there(store: Store, folder: VaultFolder):
    enrol(store, NAME)
    enrol(store, "ben", 3)
    keys = [key for (key,) in rows(folder.database, "SELECT key FROM subjects ORDER BY key")]
    use(store, NAME)
    expire(folder, NAME)
    looks = [
        lambda: store.reference("t", NAME, "voice", "1"),
        lambda: store.subject("t", NAME),
        lambda: store.rights.terms("t", NAME),
        lambda: store.rights.person("t", NAME),
        lambda: store.rights.change_terms("t", NAME, TermsChange(expires_at=LATER)),  # it cannot be brought back
        lambda: store.challenges.issue("t", NAME, "phrase", LIMITS, lambda _: ("c",)),
    ]
    for look in looks:
        with pytest.raises(UnknownSubjectError):
            look()
    assert store.attempts.wait_s("key", "t", NAME) == 0.0
    assert store.attempts.waiting("key", "t") == set()
    assert store.references_of_keys("t", keys, "voice", "1").keys() == {keys[1]}
    assert [one.subject_id for one in store.subjects("t", 10, None)] == ["ben"]
    assert rows(folder.database, "SELECT count(*) FROM subjects") == [(2,)]


def test_sweep_deletes_those_whose_time_is_over_longest_first_and_no_more_than_told(store: Store, folder: VaultFolder):
    for number in range(6):
        enrol(store, f"s{number}", number)
    expire(folder, "s4", "s1", "s5")
    assert [one.subject_id for one in store.delete_expired(2)] == ["s4", "s1"]
    assert [one.subject_id for one in store.delete_expired(2)] == ["s5"]
    assert store.delete_expired(2) == []
    assert [one.subject_id for one in store.subjects("t", 10, None)] == ["s0", "s2", "s3"]
    assert rows(folder.database, "SELECT count(*) FROM deletions") == [(6,)]
    assert store.wait_until_erased(60.0)
    assert rows(folder.key_database, "SELECT count(*) FROM subject_keys") == [(3,)]


def test_clock_of_the_process_expires_nobody(store: Store, monkeypatch: pytest.MonkeyPatch):
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime(2200, 1, 1, tzinfo=tz)

    enrol(store, NAME)
    for module in ("rights.erasure", "store"):
        monkeypatch.setattr(f"matchka.store.{module}.datetime", Ahead)
    assert store.delete_expired(10) == []
    assert store.reference("t", NAME, "voice", "1").template_count == 2
    assert abs(store.rights.time - datetime.now(UTC)) < timedelta(hours=1)


def test_expired_subject_is_deleted_on_request_as_well(store: Store, folder: VaultFolder):
    enrol(store, NAME)
    expire(folder, NAME)
    assert len(store.delete_subject("t", NAME).template_ids) == 2
    with pytest.raises(UnknownSubjectError):
        store.delete_subject("t", NAME)


def test_challenge_of_an_expired_subject_is_redeemed_as_little_as_one_of_nobody(store: Store, folder: VaultFolder):
    enrol(store, NAME)
    challenge = store.challenges.issue("t", NAME, "phrase", LIMITS, lambda _: ("one",))
    expire(folder, NAME)
    with pytest.raises(ChallengeNotRedeemableError):
        store.challenges.redeem("t", NAME, challenge.challenge_id, "phrase")


def test_enrolment_in_place_of_an_expired_subject_that_is_refused_changes_nothing(store: Store, folder: VaultFolder):
    def refuse(_reference: Reference) -> None:
        raise LikelyDuplicateError("no", remedy="None.")

    def state() -> list[list[tuple[Any, ...]]]:
        tables = (*TABLES, "deletions", "audit_log", "audit_head")
        held = [rows(folder.database, f"SELECT * FROM {table} ORDER BY 1") for table in tables]
        return [*held, rows(folder.key_database, "SELECT * FROM subject_keys ORDER BY 1")]

    enrol(store, NAME)
    use(store, NAME)
    expire(folder, NAME)
    before = state()
    with pytest.raises(LikelyDuplicateError):
        store.add_templates("t", NAME, "voice", "1", units(1, 7), review=Review(accept=refuse))
    assert state() == before
    store.add_templates("t", NAME, "voice", "1", units(1, 7))
    audited = rows(folder.database, "SELECT outcome, count FROM audit_log ORDER BY sequence")
    assert audited == [("enrolled", 2), ("deleted", 2), ("enrolled", 1)]


def test_enrolment_under_the_id_of_an_expired_subject_begins_anew(store: Store, folder: VaultFolder):
    enrol(store, NAME)
    use(store, NAME)
    with pytest.raises(TooManyAttemptsError):
        store.attempts.admit("key", "t", NAME)
    ((key,),) = rows(folder.database, "SELECT key FROM subjects")
    expire(folder, NAME)
    enrolment = store.add_templates("t", NAME, "voice", "1", units(1, 7))
    assert rows(folder.database, "SELECT subject_key FROM changes WHERE model IS NULL") == [(key,)]
    assert enrolment.reference.subject_key > key
    assert enrolment.reference.template_count == 1
    np.testing.assert_allclose(store.reference("t", NAME, "voice", "1").embedding, units(1, 7)[0], atol=1e-7)
    assert store.rights.terms("t", NAME) == Terms()
    store.attempts.admit("key", "t", NAME)
    assert rows(folder.database, "SELECT count(*) FROM key_erasures") == [(0,)]
    assert rows(folder.key_database, "SELECT count(*) FROM subject_keys") == [(1,)]
