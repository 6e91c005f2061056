"""Terms: kept with the subject, encrypted with its key, changed by who may, and required where a setting says so."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from matchka.errors import (
    ConsentRequiredError,
    DuplicateSampleError,
    InvalidFieldError,
    KeyDestroyedError,
    MissingScopeError,
    StorageDamagedError,
    UnknownSubjectError,
)
from matchka.store.engine import open_engine
from matchka.store.enrolment_limits import EnrolmentLimits
from matchka.store.rights.terms import NO_CHANGE, Terms, TermsChange, TermsRights
from matchka.store.store import Store, opened_store
from matchka.store.vault.encryption import encrypt_store
from tests.factories.unit_vectors import unit_vectors
from tests.factories.vaults import VaultFolder, vault_folder

units = partial(unit_vectors, dim=8)
LATER = datetime(2090, 1, 1, tzinfo=UTC)
GIVEN = TermsChange("consent form 4711", "door of the vault", LATER, {"badge": 7, "team": "größer", "share": 0.25})
HELD = Terms("consent form 4711", "door of the vault", LATER, {"badge": 7, "team": "größer", "share": 0.25})
TEXTS = [b"consent form 4711", b"door of the vault", b"badge", "größer".encode()]


@pytest.fixture
def folder(tmp_path: Path) -> VaultFolder:
    return vault_folder(tmp_path)


@contextmanager
def opened(folder: VaultFolder, sealed: bool) -> Iterator[Store]:
    if sealed:
        with folder.opened() as (store, _):
            yield store
    else:
        with opened_store(folder.url) as store:
            yield store


def enrol(
    store: Store, seed: int = 0, terms: TermsChange = NO_CHANGE, rights: TermsRights | None = None, model: str = "voice"
) -> None:
    limits = EnrolmentLimits(terms=rights or TermsRights())
    store.add_templates("t", "ada", model, "1", units(1, seed), limits=limits, terms=terms)


def found_in(folder: Path) -> list[bool]:
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return [text in content for text in TEXTS]


@pytest.mark.parametrize("sealed", [True, False], ids=["vault", "clear"])
def test_terms_of_an_enrolment_are_kept_and_in_clear_only_without_a_vault(folder: VaultFolder, sealed: bool):
    with opened(folder, sealed) as store:
        enrol(store, 0, GIVEN)
        assert store.rights.terms("t", "ada") == HELD
        assert found_in(folder.path) == [not sealed] * len(TEXTS)  # the log is there, too
    assert found_in(folder.path) == [not sealed] * len(TEXTS)
    with opened(folder, sealed) as store:
        assert store.rights.terms("t", "ada") == HELD
        with pytest.raises(UnknownSubjectError):
            store.rights.terms("other", "ada")


def test_terms_of_a_later_enrolment_renew_what_it_names_and_leave_the_rest(folder: VaultFolder):
    with folder.opened() as (store, _):
        enrol(store, 0, GIVEN)
        enrol(store, 1)
        assert store.rights.terms("t", "ada") == HELD
        enrol(store, 2, TermsChange(consent="form 2", expires_at=LATER + timedelta(days=1)))
        assert store.rights.terms("t", "ada") == replace(HELD, consent="form 2", expires_at=LATER + timedelta(days=1))


def test_change_sets_and_removes_terms_of_a_subject_that_had_none(folder: VaultFolder):
    with folder.opened() as (store, _):
        enrol(store)
        assert store.rights.terms("t", "ada") == Terms()
        assert store.rights.change_terms("t", "ada", GIVEN) == HELD
        assert store.rights.terms("t", "ada") == HELD
        removed = TermsChange(consent="", metadata={}, never_expires=True)
        assert store.rights.change_terms("t", "ada", removed) == Terms(purpose="door of the vault")
        store.rights.change_terms("t", "ada", TermsChange(purpose=""))
        connection = sqlite3.connect(folder.database)
        assert connection.execute("SELECT count(*) FROM subject_terms").fetchone() == (0,)
        connection.close()
        with pytest.raises(UnknownSubjectError):
            store.rights.change_terms("t", "nobody", GIVEN)


def test_refused_enrolment_leaves_the_terms_as_they_were(folder: VaultFolder):
    with folder.opened() as (store, _):
        enrol(store, 0, GIVEN)
        with pytest.raises(DuplicateSampleError):
            enrol(store, 0, TermsChange(consent="form 2"))
        assert store.rights.terms("t", "ada") == HELD


@pytest.mark.parametrize(
    ("required", "change", "missing"),
    [
        ({"consent"}, NO_CHANGE, "consent"),
        ({"consent"}, TermsChange(purpose="doors"), "consent"),
        ({"consent", "purpose"}, TermsChange(consent="form"), "purpose"),
        ({"consent", "purpose"}, TermsChange(metadata={"consent": "yes"}), "consent, purpose"),
    ],
)
def test_enrolment_without_what_is_required_is_refused_whole(
    folder: VaultFolder, required: set[str], change: TermsChange, missing: str
):
    with folder.opened() as (store, _):
        with pytest.raises(ConsentRequiredError) as refused:
            enrol(store, 0, change, TermsRights(required=frozenset(required)))
        assert refused.value.value == missing
        assert "MATCHKA_ENROLMENT_REQUIRES" in refused.value.remedy
        assert store.subjects("t", 10, None) == []


def test_what_is_required_counts_what_the_subject_has_and_stays_required_in_a_change(folder: VaultFolder):
    rights = TermsRights(required=frozenset({"consent"}))
    with folder.opened() as (store, _):
        enrol(store, 0)  # before the setting
        with pytest.raises(ConsentRequiredError):
            enrol(store, 1, NO_CHANGE, rights)
        enrol(store, 1, TermsChange(consent="form"), rights)
        enrol(store, 2, NO_CHANGE, rights)
        with pytest.raises(ConsentRequiredError):
            store.rights.change_terms("t", "ada", TermsChange(consent=""), {"consent"})
        assert store.rights.terms("t", "ada").consent == "form"


def test_caller_without_append_changes_no_terms_of_a_subject_that_is_there(folder: VaultFolder):
    rights = TermsRights(may_renew=False, may_shorten=False)
    with folder.opened() as (store, _):
        enrol(store, 0, GIVEN, rights)  # it is new
        enrol(store, 0, GIVEN, rights, "face")  # nothing changes
        with pytest.raises(MissingScopeError) as refused:
            enrol(store, 1, TermsChange(consent="form 2"), rights, "face")
        assert (refused.value.value, refused.value.failed_tries) == ("append", 1)  # it was a guess at what is there
        assert store.rights.terms("t", "ada") == HELD
        assert len(store.subject("t", "ada").templates) == 2


@pytest.mark.parametrize("before", [None, LATER])
def test_caller_who_may_not_delete_lets_nobody_expire_earlier(folder: VaultFolder, before: datetime | None):
    rights = TermsRights(may_shorten=False)
    with folder.opened() as (store, _):
        enrol(store, 0, TermsChange(expires_at=before))
        with pytest.raises(MissingScopeError) as refused:
            enrol(store, 1, TermsChange(expires_at=LATER - timedelta(seconds=1)), rights)
        assert (refused.value.value, refused.value.failed_tries) == ("subjects.delete", 1)
        assert store.rights.terms("t", "ada").expires_at == before
        if before is not None:
            enrol(store, 1, TermsChange(expires_at=LATER + timedelta(days=1)), rights)
        enrol(store, 2, TermsChange(expires_at=LATER - timedelta(seconds=1)))
        assert store.rights.terms("t", "ada").expires_at == LATER - timedelta(seconds=1)


def test_expiry_that_is_past_by_the_databases_clock_is_refused(folder: VaultFolder):
    with folder.opened() as (store, _):
        enrol(store)
        past = TermsChange(expires_at=store.rights.time)
        with pytest.raises(InvalidFieldError, match="in the future"):
            enrol(store, 1, past)
        with pytest.raises(InvalidFieldError, match="in the future"):
            store.rights.change_terms("t", "ada", past)
        assert store.rights.terms("t", "ada").expires_at is None


def test_encrypting_a_store_in_clear_encrypts_its_terms(folder: VaultFolder):
    with opened(folder, False) as store:
        enrol(store, 0, GIVEN)
    with folder.opened() as (store, vault):
        assert store.rights.terms("t", "ada") == HELD  # as long as what is in clear is accepted
        engine = open_engine(folder.url)
        encrypt_store(engine, vault, lambda _done, _total: None)
        engine.dispose()
        assert store.rights.terms("t", "ada") == HELD
    assert found_in(folder.path) == [False] * len(TEXTS)


@pytest.mark.parametrize("content", ["(SELECT content FROM subject_terms WHERE subject_key = 2)", "CAST('{}' AS BLOB)"])
def test_terms_in_another_subjects_row_or_in_clear_are_damage(folder: VaultFolder, content: str):
    with folder.opened() as (store, vault):
        enrol(store, 0, GIVEN)
        store.add_templates("t", "ben", "voice", "1", units(1, 5), terms=TermsChange(consent="form 9"))
        vault.accept_only_sealed()
        connection = sqlite3.connect(folder.database)
        connection.execute(f"UPDATE subject_terms SET content = {content} WHERE subject_key = 1")
        connection.commit()
        connection.close()
        with pytest.raises(StorageDamagedError):
            store.rights.terms("t", "ada")


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"unknown": 1}', b'{"consent": "\xff"}'])
def test_terms_that_are_not_what_was_written_are_damage(folder: VaultFolder, content: bytes):
    with opened(folder, False) as store:
        enrol(store, 0, GIVEN)
        connection = sqlite3.connect(folder.database)
        connection.execute("UPDATE subject_terms SET content = ?", (content,))
        connection.commit()
        connection.close()
        with pytest.raises(StorageDamagedError, match="cannot be read"):
            store.rights.terms("t", "ada")


def test_terms_of_a_deleted_subject_cannot_be_read_from_yesterdays_database(folder: VaultFolder):
    with folder.opened() as (store, _):
        enrol(store, 0, GIVEN)
    shutil.copy(folder.database, folder.path / "yesterday.sqlite")
    with folder.opened() as (store, _):
        store.delete_subject("t", "ada")
    shutil.copy(folder.path / "yesterday.sqlite", folder.database)
    with folder.opened() as (store, _):
        with pytest.raises(KeyDestroyedError):
            store.rights.terms("t", "ada")
        enrol(store, 1)  # a new key; what nothing opens goes
        assert store.rights.terms("t", "ada") == Terms()
