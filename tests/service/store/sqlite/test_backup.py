"""Backups: checksummed and atomic, sound or refused, and never a way back for what was deleted."""

import hashlib
import json
import shutil
import sqlite3
import threading
import zipfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from matchka.errors import BackupError, RestoreRefusedError, StoreError
from matchka.store.deletions import Deletion
from matchka.store.schema import SCHEMA_VERSION
from matchka.store.sqlite.backup import BackupManifest, copy_database, is_there, require_file, write_backup
from matchka.store.sqlite.restore import RestorePlan, RestoreReport, restore
from matchka.store.store import Store, opened_store
from tests.factories.unit_vectors import unit_vectors

DIM = 16
units = partial(unit_vectors, dim=DIM)


def ignore(_done: int, _total: int) -> None:
    """Nobody watches."""


def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Four subjects; `ada` has three templates."""
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "matchka.sqlite"
    with opened_store(url(path)) as store:
        store.add_templates("t", "ada", "voice", "1", units(3, 1))
        for number, name in enumerate(["bob", "cyd", "dan"]):
            store.add_templates("t", name, "voice", "1", units(2, 10 + number))
    return path


@pytest.fixture
def archive(path: Path, tmp_path: Path) -> Path:
    write_backup(path, tmp_path / "a.backup", ignore)
    return tmp_path / "a.backup"


def restored(archive: Path, database: Path, **options: object) -> RestoreReport:
    database.parent.mkdir(exist_ok=True)
    return restore(RestorePlan(archive, database, **options), ignore, ignore)


def content(path: Path) -> list[list[tuple[object, ...]]]:
    """All rows but the identity, read past the store."""
    connection = sqlite3.connect(path)
    tables = ("subjects", "templates", "subject_references", "deletions", "schema_version")
    found = [connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables[:4]]
    connection.close()
    return found


def names(store: Store) -> set[str]:
    return {subject.subject_id for subject in store.subjects("t", 100, None)}


def rewritten(archive: Path, target: Path, database: bytes | None = None, **changes: object) -> Path:
    """A copy of a backup with another database or other claims."""
    with zipfile.ZipFile(archive) as source:
        manifest = json.loads(source.read("backup.json")) | changes
        data = source.read("matchka.sqlite") if database is None else database
    if database is not None:
        manifest["members"] = {"matchka.sqlite": {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}}
    with zipfile.ZipFile(target, "w") as copy:
        copy.writestr("backup.json", json.dumps(manifest))
        copy.writestr("matchka.sqlite", data)
    return target


def test_backup_restored_elsewhere_holds_every_row_under_a_new_identity(archive: Path, path: Path, tmp_path: Path):
    report = restored(archive, tmp_path / "new" / "matchka.sqlite")
    assert content(tmp_path / "new" / "matchka.sqlite") == content(path)
    assert (report.statistics.subjects, report.statistics.templates, report.kept_out, report.brought_back) == (
        4,
        9,
        0,
        0,
    )
    with opened_store(url(path)) as old, opened_store(url(tmp_path / "new" / "matchka.sqlite")) as new:
        assert old.identity != new.identity
        assert new.add_templates("t", "eve", "voice", "1", units(1, 9)).reference.subject_key == 5
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["matchka.sqlite"]


def test_backup_names_what_it_holds(archive: Path):
    with zipfile.ZipFile(archive) as opened:
        manifest = json.loads(opened.read("backup.json"))
        data = opened.read("matchka.sqlite")
    assert manifest["members"]["matchka.sqlite"]["sha256"] == hashlib.sha256(data).hexdigest()
    counts = [manifest[name] for name in ("subjects", "templates", "references", "deletions")]
    assert (counts, manifest["models"], manifest["schema_version"]) == ([4, 9, 4, 0], {"voice 1": 9}, SCHEMA_VERSION)
    assert archive.stat().st_mode & 0o077 == 0


def test_backup_taken_while_others_write_is_one_state(path: Path, tmp_path: Path):
    stop = threading.Event()

    def write(store: Store) -> None:
        number = 0
        while not stop.is_set():
            store.add_templates("t", f"x{number}", "voice", "1", units(3, number))
            store.delete_subject("t", f"x{number - 2}", wait_s=0.0) if number >= 2 else None
            number += 1

    with opened_store(url(path)) as store:
        writer = threading.Thread(target=write, args=(store,))
        writer.start()
        try:
            for number in range(5):
                write_backup(path, tmp_path / f"{number}.backup", ignore)
        finally:
            stop.set()
            writer.join()
    for number in range(5):
        # a restore checks that every reference is the mean of its templates, and the counts
        report = restored(tmp_path / f"{number}.backup", tmp_path / f"data-{number}" / "matchka.sqlite")
        assert report.statistics.templates % 3 == 0


def test_deletion_during_a_backup_is_erased_when_it_ends(path: Path, tmp_path: Path):
    rows = units(3, 1)
    with opened_store(url(path)) as store:
        deleted = []

        def advance(_done: int, _total: int) -> None:
            if not deleted:
                deleted.append(store.delete_subject("t", "ada", wait_s=0.0))

        write_backup(path, tmp_path / "a.backup", advance)
        assert deleted
        assert store.wait_until_erased(30.0)
        left = b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert not any(row.tobytes() in left for row in rows)


def test_backup_that_fails_on_the_way_leaves_no_file(path: Path, tmp_path: Path):
    def fail(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        write_backup(path, tmp_path / "a.backup", fail)
    assert sorted(tmp_path.iterdir()) == before


def test_backup_of_what_is_no_store_or_to_where_it_cannot_be_is_refused(path: Path, archive: Path, tmp_path: Path):
    with pytest.raises(StoreError, match="no database"):
        write_backup(tmp_path / "nothing.sqlite", tmp_path / "b.backup", ignore)
    with pytest.raises(BackupError, match="a file of this name"):
        write_backup(path, archive, ignore)
    with pytest.raises(BackupError, match="cannot be written"):
        write_backup(path, tmp_path / "nowhere" / "b.backup", ignore)
    (tmp_path / "text.sqlite").write_text("no database at all" * 500)
    with pytest.raises(BackupError, match="cannot be copied"):
        write_backup(tmp_path / "text.sqlite", tmp_path / "b.backup", ignore)
    sqlite3.connect(tmp_path / "other.sqlite").close()
    with pytest.raises(StoreError, match="tables of version None"):
        write_backup(tmp_path / "other.sqlite", tmp_path / "b.backup", ignore)
    assert not (tmp_path / "b.backup").exists()


def test_restore_over_a_store_needs_leave_and_keeps_out_what_was_deleted_since(archive: Path, path: Path):
    with opened_store(url(path)) as store:
        kept, gone, _ = [template.template_id for template in store.subject("t", "ada").templates]
        store.delete_subject("t", "bob")
        store.delete_template("t", gone)
        store.add_templates("t", "eve", "voice", "1", units(1, 99))
    before = content(path)
    with pytest.raises(RestoreRefusedError, match="a store already"):
        restored(archive, path)
    assert content(path) == before
    report = restored(archive, path, replace=True)
    assert (report.kept_out, report.statistics.deletions) == (3, 3)
    with opened_store(url(path)) as store:
        assert names(store) == {"ada", "cyd", "dan"}
        assert gone not in {template.template_id for template in store.subject("t", "ada").templates}
        assert kept in {template.template_id for template in store.subject("t", "ada").templates}
        assert store.reference("t", "ada", "voice", "1").template_count == 2
    # the deletion log went along, so a second restore still knows
    assert restored(archive, path, replace=True).kept_out == 3


def test_restore_told_to_resurrect_brings_all_back_and_takes_it_off_the_deletion_log(archive: Path, path: Path):
    before = content(path)
    with opened_store(url(path)) as store:
        store.delete_subject("t", "bob")
    report = restored(archive, path, replace=True, resurrect=True)
    assert (report.kept_out, report.brought_back, report.statistics.deletions) == (0, 2, 0)
    assert content(path) == before
    assert restored(archive, path, replace=True).kept_out == 0


def test_restore_on_another_machine_respects_the_deletion_log_it_is_given(archive: Path, path: Path, tmp_path: Path):
    with opened_store(url(path)) as store:
        ids = [template.template_id for template in store.subject("t", "bob").templates]
    deletions = tuple(Deletion(i, "t", datetime.now(UTC)) for i in [*ids, "0" * 32])
    new = tmp_path / "new" / "matchka.sqlite"
    report = restored(archive, new, deletions=deletions, has_deletions_file=True)
    assert (report.kept_out, report.statistics.deletions) == (2, 3)
    with opened_store(url(new)) as store:
        assert names(store) == {"ada", "cyd", "dan"}
    assert not any(row.tobytes() in new.read_bytes() for row in units(2, 10))


def test_restore_over_a_store_whose_deletion_log_cannot_be_read_is_refused_unless_told(archive: Path, path: Path):
    path.write_bytes(b"damaged" * 1000)
    with pytest.raises(RestoreRefusedError, match="deletion log of the store") as refused:
        restored(archive, path, replace=True)
    assert "--resurrect" in refused.value.remedy
    assert path.read_bytes() == b"damaged" * 1000
    assert restored(archive, path, replace=True, resurrect=True).statistics.subjects == 4


def test_restore_over_a_store_that_was_killed_does_not_take_its_log_for_the_new_ones(
    archive: Path, path: Path, tmp_path: Path
):
    with opened_store(url(path)) as store:
        store.wait_until_erased()  # a start empties the log; what is written after that stays in it
        store.add_templates("t", "eve", "voice", "1", units(4, 99))
        (tmp_path / "killed").mkdir()
        for file in path.parent.iterdir():
            shutil.copy(file, tmp_path / "killed" / file.name)  # what SIGKILL leaves: a log that nobody emptied
    killed = tmp_path / "killed" / "matchka.sqlite"
    assert (tmp_path / "killed" / "matchka.sqlite-wal").stat().st_size > 0
    restored(archive, killed, replace=True)
    with opened_store(url(killed)) as store:
        assert names(store) == {"ada", "bob", "cyd", "dan"}


@pytest.mark.parametrize("place", ["start", "middle", "end"])
def test_backup_with_a_changed_byte_is_refused_and_nothing_is_touched(archive: Path, path: Path, place: str):
    data = bytearray(archive.read_bytes())
    data[{"start": 100, "middle": len(data) // 2, "end": len(data) - 8}[place]] ^= 0xFF
    archive.write_bytes(data)
    before = content(path)
    with pytest.raises(BackupError):
        restored(archive, path, replace=True)
    assert content(path) == before
    assert sorted(file.name for file in path.parent.iterdir()) == ["matchka.sqlite"]


def test_backup_that_is_cut_short_or_of_another_kind_is_refused(archive: Path, tmp_path: Path):
    data = archive.read_bytes()
    for share in (0.0, 0.3, 0.99):
        (tmp_path / "short").write_bytes(data[: int(share * len(data))])
        with pytest.raises(BackupError, match="cannot be read"):
            restored(tmp_path / "short", tmp_path / "new" / "matchka.sqlite")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("notes.txt", "hello")
    with pytest.raises(BackupError, match="of another kind"):
        restored(tmp_path / "other.zip", tmp_path / "new" / "matchka.sqlite")
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr("extra", "unlisted")
    with pytest.raises(BackupError, match="does not hold the files"):
        restored(archive, tmp_path / "new" / "matchka.sqlite")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE templates SET embedding = zeroblob(length(embedding)), digest = NULL", "a template of length 0"),
        ("UPDATE subject_references SET template_count = 1", "a reference that counts"),
        ("DELETE FROM templates WHERE subject_key = 2", "a subject without templates"),
    ],
)
def test_backup_with_true_checksums_of_wrong_rows_is_refused(
    archive: Path, path: Path, tmp_path: Path, statement: str, said: str
):
    with zipfile.ZipFile(archive) as opened:
        opened.extract("matchka.sqlite", tmp_path / "x")
    connection = sqlite3.connect(tmp_path / "x" / "matchka.sqlite")
    connection.execute(statement)
    connection.commit()
    connection.close()
    forged = rewritten(archive, tmp_path / "forged", (tmp_path / "x" / "matchka.sqlite").read_bytes())
    before = content(path)
    with pytest.raises(BackupError, match=said):
        restored(forged, path, replace=True)
    assert content(path) == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"templates": 8}, "names"),
        ({"format": "matchka-backup-9"}, "not valid at format"),
        ({"surprise": 1}, "not valid at surprise"),
    ],
)
def test_backup_whose_manifest_claims_otherwise_is_refused(
    archive: Path, tmp_path: Path, changes: dict[str, object], said: str
):
    with pytest.raises(BackupError, match=said):
        restored(rewritten(archive, tmp_path / "forged", **changes), tmp_path / "new" / "matchka.sqlite")


def test_backup_of_a_newer_program_is_refused(archive: Path, tmp_path: Path):
    with zipfile.ZipFile(archive) as opened:
        opened.extract("matchka.sqlite", tmp_path)
    connection = sqlite3.connect(tmp_path / "matchka.sqlite")
    connection.execute("UPDATE schema_version SET version = 99")
    connection.commit()
    connection.close()
    forged = rewritten(archive, tmp_path / "forged", (tmp_path / "matchka.sqlite").read_bytes())
    with pytest.raises(StoreError, match="version 99"):
        restored(forged, tmp_path / "new" / "matchka.sqlite")


def test_manifest_round_trips(archive: Path):
    with zipfile.ZipFile(archive) as opened:
        text = opened.read("backup.json")
    assert BackupManifest.model_validate_json(text).created_at <= datetime.now(UTC)


def test_copy_in_a_place_that_cannot_be_opened_is_refused(path: Path, tmp_path: Path):
    with pytest.raises(BackupError, match="cannot be copied"):
        copy_database(path, tmp_path, ignore)  # a folder


def test_database_in_a_folder_that_nobody_may_look_into_is_refused_and_not_taken_for_missing(tmp_path: Path):
    (tmp_path / "file").touch()
    for missing in (tmp_path / "none" / "matchka.sqlite", tmp_path / "file" / "matchka.sqlite", tmp_path):
        assert not is_there(missing)
        with pytest.raises(StoreError, match="no database"):
            require_file(missing)
    # root, as whom tests may run, is let in everywhere: a name that no system takes fails likewise
    with pytest.raises(StoreError, match="cannot be read") as refused:
        require_file(tmp_path / ("x" * 300) / "matchka.sqlite")
    assert "service's user" in refused.value.remedy
