"""Terms go with their subject into backups and exports; who was deleted since does not come back, nor does the id."""

import json
import zipfile
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from matchka.store.audit.log import AuditLog
from matchka.store.deletions import Deletion
from matchka.store.engine import file_of, open_engine, reading
from matchka.store.rights.terms import Terms, TermsChange
from matchka.store.sqlite.backup import write_backup
from matchka.store.sqlite.restore import RestorePlan, restore
from matchka.store.store import opened_store
from matchka.store.subject_hash import SubjectHasher
from matchka.store.transfer.backups import backups_of
from matchka.store.transfer.exporter import write_export
from matchka.store.transfer.import_plan import Existing, ImportPlan
from matchka.store.transfer.importer import import_archive
from matchka.store.vault.open_vault import opened_vault
from matchka.store.vault.vault import CLEAR
from tests.factories.databases import UnderTest
from tests.factories.unit_vectors import unit_vectors
from tests.factories.vaults import VaultFolder, vault_folder

units = partial(unit_vectors, dim=8)
LATER = datetime(2090, 1, 1, tzinfo=UTC)
GIVEN = TermsChange("consent of ada", "doors", LATER, {"badge": 7, "share": 0.5})
HELD = Terms("consent of ada", "doors", LATER, {"badge": 7, "share": 0.5})
HASHER = SubjectHasher(b"h" * 32)
NAME = "the-deleted-one"


def ignore(_done: int, _total: int) -> None:
    """Nobody watches."""


@pytest.fixture
def folder(tmp_path: Path) -> VaultFolder:
    return vault_folder(tmp_path / "vault")


@pytest.fixture
def in_clear(tmp_path: Path) -> Path:
    """A store in clear with `ada`, who has terms, and `ben`, who has none."""
    path = tmp_path / "clear" / "matchka.sqlite"
    path.parent.mkdir()
    with opened_store(f"sqlite:///{path}") as store:
        store.add_templates("t", "ada", "voice", "1", units(2), terms=GIVEN)
        store.add_templates("t", "ben", "voice", "1", units(2, 5))
    return path


def exported(database: Path, target: Path) -> Path:
    engine = open_engine(f"sqlite:///{database}")
    with reading(engine) as session:
        write_export(session, target, "t", "voice", "1", ignore)
    engine.dispose()
    return target


@pytest.mark.parametrize("sealed", [True, False], ids=["vault", "clear"])
def test_restored_backup_has_the_terms_encrypted_where_there_is_a_vault(
    in_clear: Path, folder: VaultFolder, tmp_path: Path, sealed: bool
):
    write_backup(in_clear, tmp_path / "a.backup", ignore)
    with opened_vault(folder.plan) as opened:
        vault = opened if sealed else CLEAR
        restore(RestorePlan(tmp_path / "a.backup", folder.database, vault=vault), ignore, ignore)
        with opened_store(folder.url, vault) as store:
            store.require_keys()
            assert store.rights.terms("t", "ada") == HELD
            assert store.rights.terms("t", "ben") == Terms()
    assert (b"consent of ada" in folder.database.read_bytes()) != sealed


def test_imported_export_has_the_terms_encrypted_where_there_is_a_vault(
    in_clear: Path, folder: VaultFolder, tmp_path: Path
):
    archive = exported(in_clear, tmp_path / "a.export")
    with zipfile.ZipFile(archive) as opened:
        assert json.loads(opened.read("export.json"))["format"] == "matchka-export-4"
        lines = [json.loads(line) for line in opened.read("subjects.jsonl").splitlines()]
    assert [line.get("terms") for line in lines] == [
        {
            "consent": "consent of ada",
            "purpose": "doors",
            "expires_at": "2090-01-01T00:00:00Z",
            "metadata": {"badge": 7, "share": 0.5},
        },
        None,
    ]
    with folder.opened() as (store, vault):
        engine = open_engine(folder.url)
        import_archive(engine, ImportPlan(archive), {("voice", "1"): 8}, ignore, ignore, vault)
        engine.dispose()
        assert store.rights.terms("t", "ada") == HELD
        assert store.rights.terms("t", "ben") == Terms()
        assert store.reference("t", "ada", "voice", "1").template_count == 2
    assert b"consent of ada" not in folder.database.read_bytes()


@pytest.mark.parametrize(("existing", "expected"), [("skip", "own"), ("replace", "consent of ada")])
def test_import_changes_the_terms_of_a_subject_that_is_there_only_to_replace_it(
    in_clear: Path, tmp_path: Path, existing: Existing, expected: str
):
    archive = exported(in_clear, tmp_path / "a.export")
    with opened_store(f"sqlite:///{in_clear}") as store:
        store.rights.change_terms("t", "ada", TermsChange(consent="own"))
        engine = open_engine(f"sqlite:///{in_clear}")
        import_archive(engine, ImportPlan(archive, existing=existing), {("voice", "1"): 8}, ignore, ignore)
        engine.dispose()
        assert store.rights.terms("t", "ada").consent == expected


@pytest.mark.parametrize("sealed", [True, False], ids=["vault", "clear"])
def test_restore_of_yesterdays_backup_leaves_out_the_deleted_and_their_ids(
    folder: VaultFolder, tmp_path: Path, sealed: bool
):
    with opened_vault(folder.plan) as opened:
        vault = opened if sealed else CLEAR
        with opened_store(folder.url, vault, hasher=HASHER) as store:
            store.add_templates("t", NAME, "voice", "1", units(2), terms=GIVEN)
            store.add_templates("t", "ben", "voice", "1", units(2, 5))
            write_backup(folder.database, tmp_path / "a.backup", ignore)
            ids = store.delete_subject("t", NAME).template_ids
            store.add_templates("t", NAME, "voice", "1", units(1, 7))
            store.delete_subject("t", NAME)
        report = restore(RestorePlan(tmp_path / "a.backup", folder.database, True, vault=vault), ignore, ignore)
        assert (report.kept_out, report.unreadable) == ((0, 1) if sealed else (2, 0))
        with opened_store(folder.url, vault, hasher=HASHER) as store:
            assert [one.subject_id for one in store.subjects("t", 10, None)] == ["ben"]
    assert len(ids) == 2
    left = [path for path in folder.path.rglob("*") if path.is_file() and NAME.encode() in path.read_bytes()]
    assert left == []


def test_what_an_import_deletes_is_noted_by_keyed_hashes_in_both_logs(in_clear: Path, tmp_path: Path):
    archive = exported(in_clear, tmp_path / "a.export")
    url = f"sqlite:///{in_clear}"
    with opened_store(url, hasher=HASHER, is_audited=True) as store:
        added = store.add_templates("t", "ada", "voice", "1", units(1, 9)).template_ids
        held = [one.template_id for one in store.subject("t", "ben").templates]
        gone = (Deletion(held[0], "t", LATER),)
        engine = open_engine(url)
        plan = ImportPlan(archive, existing="replace", deletions=gone)
        log = AuditLog(engine, HASHER, is_on=True)
        report = import_archive(engine, plan, {("voice", "1"): 8}, ignore, ignore, audit=log, hasher=HASHER)
        engine.dispose()
        assert (report.removed, report.replaced) == (1, 2)
        told = [one.template_id for one in store.rights.person("t", "ada").deletions]
        records = [(one.outcome, one.detail, one.count) for one in store.audit.page("t", 9, with_nobodys=True)]
    assert told == list(added)
    assert records == [("enrolled", None, 1), ("deleted", "import", 1), ("enrolled", "import", 3)]


def test_restore_of_yesterdays_backup_puts_off_no_end_that_was_set_since(database: UnderTest, tmp_path: Path):
    soon = LATER - timedelta(days=365)
    names = ("ada", "ben", "eva")
    with opened_store(database.url) as store:
        for seed, name in enumerate(names):
            until = LATER if name == "ada" else None
            store.add_templates("t", name, "voice", "1", units(1, seed), terms=TermsChange("f", expires_at=until))
        backups_of(database.url).write(database.url, tmp_path / "a.backup", ignore)
        store.rights.change_terms("t", "ada", TermsChange(expires_at=soon))
        store.rights.change_terms("t", "ben", TermsChange(expires_at=soon))
    plan = RestorePlan(tmp_path / "a.backup", file_of(database.url) or tmp_path / "in-a-server.sqlite", replace=True)
    backups_of(database.url).restore(database.url, plan, ignore, ignore)
    with opened_store(database.url) as store:
        assert [store.rights.terms("t", name).expires_at for name in names] == [soon, soon, None]
        assert {store.rights.terms("t", name).consent for name in names} == {"f"}
