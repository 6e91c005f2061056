"""Backups of each kind of database: one state, which restores into any kind, without what was deleted since."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.orm import Session

from matchka.errors import BackupError, RestoreRefusedError, StoreError
from matchka.store.audit.chain import Link
from matchka.store.audit.checkpoint import Checkpoint
from matchka.store.audit.log import head_place
from matchka.store.audit.prunings import Prunings
from matchka.store.audit.verification import verify_log
from matchka.store.engine import changing_tables, open_engine, reading
from matchka.store.integrity.check import check_store
from matchka.store.keys.records import KeySpec
from matchka.store.migrations import migrate
from matchka.store.sqlite.restore import RestorePlan, RestoreReport
from matchka.store.store import Store, opened_store
from matchka.store.subject_hash import SubjectHasher
from matchka.store.transfer.backups import backups_of
from matchka.store.vault.open_vault import opened_vault
from matchka.store.vault.vault import CLEAR, Vault
from tests.factories.databases import FileUnderTest, ServerUnderTest, UnderTest, row_counts
from tests.factories.postgres import fresh_database
from tests.factories.unit_vectors import unit_vectors
from tests.factories.vaults import vault_folder

units = partial(unit_vectors, dim=6)
HASHER = SubjectHasher(b"h" * 32)


def ignore(_done: int, _total: int) -> None:
    """Nobody watches."""


@pytest.fixture(params=["into sqlite", "into postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UnderTest]:
    """Another empty database, of each kind."""
    if request.param == "into sqlite":
        yield FileUnderTest(tmp_path / "target" / "matchka.sqlite")
        return
    with fresh_database(request.getfixturevalue("cluster")) as url:
        yield ServerUnderTest(url)


def enrol_some(store: Store) -> None:
    for number in range(4):
        store.add_templates("t", f"s{number}", "voice", "1", units(1 + number, number), conditions=[0.5] * (1 + number))
    store.add_templates("other", "s0", "voice", "1", units(1, 50))
    store.add_templates("t", "gone", "voice", "1", units(2, 51))
    store.delete_subject("t", "gone")


def backed_up(database: UnderTest, file: Path) -> Path:
    backups_of(database.url).write(database.url, file, ignore)
    return file


def restored(
    file: Path, database: UnderTest, folder: Path, replace: bool = False, vault: Vault = CLEAR, **more: object
) -> RestoreReport:
    path = database.path if isinstance(database, FileUnderTest) else folder / "matchka.sqlite"
    path.parent.mkdir(exist_ok=True)
    plan = RestorePlan(file, path, replace, vault=vault, **more)
    report = backups_of(database.url).restore(database.url, plan, ignore, ignore)
    assert [left.name for left in path.parent.iterdir() if left.name.startswith(".restoring")] == []
    return report


def everything(database: UnderTest) -> list[list[tuple[object, ...]]]:
    """Whoever is enrolled, and what was deleted, row by row."""
    queries = [
        "SELECT key, tenant, subject_id FROM subjects ORDER BY 1",
        "SELECT template_id, subject_key, model, version, embedding, digest, condition FROM templates ORDER BY 1",
        "SELECT subject_key, model, version, template_count, embedding FROM subject_references ORDER BY 1, 2, 3",
        "SELECT template_id, tenant, subject_hash FROM deletions ORDER BY 1",
        "SELECT key_id, digest, revision FROM api_keys ORDER BY 1",
    ]
    return [
        [tuple(bytes(cell) if isinstance(cell, memoryview) else cell for cell in row) for row in database.rows(query)]
        for query in queries
    ]


def is_sound(database: UnderTest) -> bool:
    engine = open_engine(database.url)
    with reading(engine) as session:
        findings = check_store(session, ignore).findings
    engine.dispose()
    return findings == ()


def test_backup_restored_into_either_kind_holds_every_row_under_a_new_identity(
    database: UnderTest, target: UnderTest, tmp_path: Path
):
    with opened_store(database.url) as store:
        enrol_some(store)
        store.keys.create(KeySpec("door"))
        identity, highest = store.identity, store.subject("other", "s0")
    assert highest.templates
    before = everything(database)
    report = restored(backed_up(database, tmp_path / "a.backup"), target, tmp_path / "data")
    assert (report.statistics.subjects, report.statistics.templates, report.kept_out) == (5, 11, 0)
    assert everything(target) == before
    assert is_sound(target)
    with opened_store(target.url) as store:
        assert store.identity != identity
        np.testing.assert_allclose(store.reference("t", "s2", "voice", "1").embedding, units(3, 2).mean(0), atol=1e-6)
        new = store.add_templates("t", "new", "voice", "1", units(1, 99)).reference.subject_key
        assert new == 7  # the sixth was deleted, and its number is not given again
        assert store.keys.read().revision == 1


def test_restore_over_a_store_needs_leave_and_keeps_out_what_was_deleted_since(database: UnderTest, tmp_path: Path):
    with opened_store(database.url) as store:
        enrol_some(store)
    file = backed_up(database, tmp_path / "a.backup")
    with opened_store(database.url) as store:
        store.delete_subject("t", "s1")
        key = store.keys.create(KeySpec("later")).key
        later = store.add_templates("t", "later", "voice", "1", units(1, 60)).reference.subject_key
    with pytest.raises(RestoreRefusedError, match="already"):
        restored(file, database, tmp_path / "data")
    report = restored(file, database, tmp_path / "data", replace=True)
    assert (report.kept_out, report.old_keys) == (2, 0)
    assert is_sound(database)
    with opened_store(database.url) as store:
        assert [one.subject_id for one in store.subjects("t", 9, None)] == ["s0", "s2", "s3"]
        assert store.keys.list_keys() == [key]
        assert store.add_templates("t", "new", "voice", "1", units(1, 61)).reference.subject_key >= later
    report = restored(file, database, tmp_path / "data", replace=True, resurrect=True)
    assert report.brought_back == 2
    with opened_store(database.url) as store:
        assert store.subject("t", "s1").templates


def test_encrypted_store_is_backed_up_as_it_is_and_a_backup_in_clear_is_encrypted(database: UnderTest, tmp_path: Path):
    vaults = vault_folder(tmp_path / "vault")
    with opened_store(database.url) as store:
        enrol_some(store)
    in_clear = backed_up(database, tmp_path / "clear.backup")
    with opened_vault(vaults.plan) as vault:
        restored(in_clear, database, tmp_path / "data", replace=True, vault=vault)
        with opened_store(database.url, vault) as store:
            store.require_keys()
            file = backed_up(database, tmp_path / "sealed.backup")
            store.delete_subject("t", "s3")
            store.add_templates("t", "later", "voice", "1", units(1, 70))
        assert not database.rows("SELECT 1 FROM subjects WHERE key_id IS NULL")
        report = restored(file, database, tmp_path / "data", replace=True, vault=vault)
        assert report.unreadable + report.kept_out  # its key is gone, and its deletion is noted
        with opened_store(database.url, vault) as store:
            assert [one.subject_id for one in store.subjects("t", 9, None)] == ["s0", "s1", "s2"]
            expected = units(3, 2).mean(axis=0)
            np.testing.assert_allclose(store.reference("t", "s2", "voice", "1").embedding, expected, atol=1e-6)


def test_backup_taken_while_others_write_is_one_state(database: UnderTest, target: UnderTest, tmp_path: Path):
    stop = threading.Event()
    with opened_store(database.url) as store:
        enrol_some(store)

        def write() -> None:
            number = 0
            while not stop.is_set():
                store.add_templates("t", f"w{number}", "voice", "1", units(3, 1000 + number))
                if number % 2:
                    store.delete_subject("t", f"w{number - 1}", wait_s=0.0)
                number += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            file = backed_up(database, tmp_path / "a.backup")
        finally:
            stop.set()
            writer.join()
    report = restored(file, target, tmp_path / "data")  # which checks every reference, and the counts
    assert (report.statistics.templates - 11) % 3 == 0


def test_backup_of_a_database_without_a_store_is_refused(postgres_url: str, tmp_path: Path):
    with pytest.raises(StoreError, match="tables of version 0"):
        backed_up(ServerUnderTest(postgres_url), tmp_path / "a.backup")
    assert not (tmp_path / "a.backup").exists()


def audited(url: str, *subjects: str) -> Link:
    """Enrol subjects in a store with an audit log. Returns: the last record's place."""
    with opened_store(url, hasher=HASHER, is_audited=True) as store:
        for number, subject in enumerate(subjects):
            store.add_templates("t", subject, "voice", "1", units(1, number))
        with reading(store.audit.engine) as session:
            return head_place(session)


def log_of(database: UnderTest) -> list[tuple[object, ...]]:
    return database.rows("SELECT outcome, count, hash FROM audit_log ORDER BY sequence")


def flaws_of_log(database: UnderTest, at_checkpoint: Link) -> list[str]:
    engine = open_engine(database.url)
    with reading(engine) as session:
        report = verify_log(session, Checkpoint(at_checkpoint, is_genuine=True), Prunings(HASHER), ignore)
    engine.dispose()
    return [flaw.what for flaw in report.flaws]


def test_restore_over_a_store_keeps_its_audit_log_and_records_itself(database: UnderTest, tmp_path: Path):
    audited(database.url, "eva")
    file = backed_up(database, tmp_path / "a.backup")
    last = audited(database.url, "ada", "ida")
    before = log_of(database)
    restored(file, database, tmp_path / "data", replace=True, is_audited=True)
    after = log_of(database)
    assert (after[:-1], after[-1][:2]) == (before, ("restored", 1))
    ((detail,),) = database.rows("SELECT detail FROM audit_log WHERE outcome = 'restored'")
    assert str(detail).endswith("log of the store before")
    assert flaws_of_log(database, last) == []
    assert audited(database.url, "ada").sequence == 5
    assert flaws_of_log(database, last) == []


def test_restore_of_a_pruned_store_keeps_where_its_audit_log_begins(database: UnderTest, tmp_path: Path):
    audited(database.url, "eva", "ada")
    with (
        opened_store(database.url, hasher=HASHER, is_audited=True) as store,
        Session(store.audit.engine) as session,
        session.begin(),
    ):
        assert store.audit.prune(session, datetime.now(UTC) + timedelta(days=1)) == 2
    file = backed_up(database, tmp_path / "a.backup")
    last = audited(database.url, "ida")
    restored(file, database, tmp_path / "data", replace=True, is_audited=True)
    assert [row[0] for row in log_of(database)] == ["pruned", "enrolled", "restored"]
    assert flaws_of_log(database, last) == []


def test_restore_into_an_empty_database_goes_on_with_the_audit_log_of_the_backup(
    database: UnderTest, target: UnderTest, tmp_path: Path
):
    last = audited(database.url, "eva", "ada")
    restored(backed_up(database, tmp_path / "a.backup"), target, tmp_path / "data", is_audited=True)
    assert [row[:2] for row in log_of(target)] == [("enrolled", 1), ("enrolled", 1), ("restored", 1)]
    ((detail,),) = target.rows("SELECT detail FROM audit_log WHERE outcome = 'restored'")
    assert str(detail).endswith("log of the backup")
    audited(target.url, "ida")
    assert flaws_of_log(target, last) == []


def test_restore_that_is_not_to_be_recorded_leaves_the_audit_log_as_it_is(database: UnderTest, tmp_path: Path):
    audited(database.url, "eva")
    file = backed_up(database, tmp_path / "a.backup")
    last = audited(database.url, "ada")
    before = log_of(database)
    restored(file, database, tmp_path / "data", replace=True)
    assert log_of(database) == before
    assert flaws_of_log(database, last) == []


def test_restore_over_tables_from_before_there_was_an_audit_log_takes_that_of_the_backup(
    database: UnderTest, target: UnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    last = audited(database.url, "eva")
    file = backed_up(database, tmp_path / "a.backup")
    if isinstance(target, FileUnderTest):
        target.path.parent.mkdir()
    older = open_engine(target.url)
    with monkeypatch.context() as patched, changing_tables(older) as connection:
        patched.setattr(migrate, "SCHEMA_VERSION", 7)
        migrate.upgrade(connection)
    older.dispose()
    restored(file, target, tmp_path / "data", replace=True, is_audited=True)
    assert [row[0] for row in log_of(target)] == ["enrolled", "restored"]
    assert flaws_of_log(target, last) == []


@contextmanager
def connected(url: str) -> Iterator[None]:
    """Somebody who keeps a connection, as services do."""
    engine = open_engine(url)
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        stack.enter_context(engine.connect())
        yield


def test_restore_into_a_server_that_services_use_is_refused(postgres_url: str, tmp_path: Path):
    database = ServerUnderTest(postgres_url)
    with opened_store(postgres_url) as store:
        enrol_some(store)
    file = backed_up(database, tmp_path / "a.backup")
    before = everything(database)
    with connected(postgres_url), pytest.raises(RestoreRefusedError, match="Services are connected"):
        restored(file, database, tmp_path / "data", replace=True)
    assert everything(database) == before


def test_restore_that_fails_in_the_server_changes_nothing(postgres_url: str, tmp_path: Path):
    database = ServerUnderTest(postgres_url)
    with opened_store(postgres_url) as store:
        enrol_some(store)
    file = backed_up(database, tmp_path / "a.backup")
    with opened_store(postgres_url) as store:
        store.delete_subject("t", "s2")
    audited(postgres_url, "s9")
    before, counts, log = everything(database), row_counts(database), log_of(database)
    database.refuse("INSERT", "subject_references", "refused", "53100")
    with pytest.raises(BackupError, match="nothing of it was changed"):
        restored(file, database, tmp_path / "data", replace=True, is_audited=True)
    assert (everything(database), row_counts(database), log_of(database)) == (before, counts, log)
