"""How far the deletion log goes back: old entries go, and no copy from before what it knows comes back by mistake."""

import json
import sqlite3
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from matchka.errors import RestoreRefusedError
from matchka.store.deletions import Deletion, horizon_in
from matchka.store.engine import open_engine, reading
from matchka.store.sqlite.backup import write_backup
from matchka.store.sqlite.restore import RestorePlan, restore
from matchka.store.store import Store, opened_store
from matchka.store.transfer.exporter import write_export
from matchka.store.transfer.import_plan import ImportPlan
from matchka.store.transfer.importer import import_archive
from tests.factories.unit_vectors import unit_vectors

units = partial(unit_vectors, dim=8)
DAY = timedelta(days=1)


def ignore(_done: int, _total: int) -> None:
    """Nobody watches."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "matchka.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with opened_store(f"sqlite:///{path}") as opened:
        yield opened


def note(path: Path, days: list[float]) -> list[str]:
    """Entries of the deletion log, so many days old. Returns: their times."""
    connection = sqlite3.connect(path)
    times = [f"{datetime.now(UTC) - age * DAY:%Y-%m-%d %H:%M:%S.%f}" for age in days]
    rows = [(f"{number:032x}", "t", when) for number, when in enumerate(times)]
    connection.executemany("INSERT INTO deletions (template_id, tenant, deleted_at) VALUES (?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return times


def noted(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    found = [row[0] for row in connection.execute("SELECT deleted_at FROM deletions ORDER BY 1")]
    connection.close()
    return found


def horizon(path: Path) -> str | None:
    engine = open_engine(f"sqlite:///{path}")
    with reading(engine) as session:
        found = horizon_in(session)
    engine.dispose()
    return None if found is None else f"{found:%Y-%m-%d %H:%M:%S.%f}"


def test_entries_that_are_too_old_go_oldest_first_and_the_newest_that_went_is_noted(store: Store, path: Path):
    times = note(path, [10, 40, 20, 50, 30, 60])
    ordered = sorted(times)
    assert store.rights.forget_old_deletions(25 * DAY, 3) == 3
    assert (noted(path), horizon(path)) == (ordered[3:], ordered[2])
    assert store.rights.forget_old_deletions(25 * DAY, 3) == 1
    assert (noted(path), horizon(path)) == (ordered[4:], ordered[3])
    assert store.rights.forget_old_deletions(25 * DAY, 3) == 0
    assert (noted(path), horizon(path)) == (ordered[4:], ordered[3])


def backup_of(path: Path, archive: Path, age: timedelta) -> Path:
    """A backup that says that it is of some time ago."""
    write_backup(path, archive, ignore)
    with zipfile.ZipFile(archive) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    manifest = json.loads(members["backup.json"]) | {"created_at": (datetime.now(UTC) - age).isoformat()}
    members["backup.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(archive, "w") as copy:
        for name, content in members.items():
            copy.writestr(name, content)
    return archive


@pytest.mark.parametrize(("age", "is_refused"), [(45 * DAY, True), (35 * DAY, False)])
def test_backup_from_before_what_the_log_knows_is_not_restored_unless_told(
    store: Store, path: Path, tmp_path: Path, age: timedelta, is_refused: bool
):
    store.add_templates("t", "ada", "voice", "1", units(2))
    archive = backup_of(path, tmp_path / "old.backup", age)
    note(path, [40, 10])
    assert store.rights.forget_old_deletions(25 * DAY, 10) == 1
    store.close()
    kept = horizon(path)
    plan = RestorePlan(archive, path, replace=True)
    if is_refused:
        before = path.read_bytes()
        with pytest.raises(RestoreRefusedError, match="older than the deletion log"):
            restore(plan, ignore, ignore)
        assert path.read_bytes() == before
        log = (Deletion("9" * 32, "t", datetime.now(UTC)),)
        plan = RestorePlan(archive, path, replace=True, deletions=log, has_deletions_file=True)
    assert restore(plan, ignore, ignore).statistics.subjects == 1
    assert horizon(path) == kept  # the restored store knows no more than the one before
    if is_refused:
        with pytest.raises(RestoreRefusedError, match="older"):
            restore(RestorePlan(archive, path, replace=True), ignore, ignore)
        assert (
            restore(RestorePlan(archive, path, replace=True, resurrect=True), ignore, ignore).statistics.subjects == 1
        )


def test_export_from_before_what_the_log_knows_is_not_imported_unless_told(store: Store, path: Path, tmp_path: Path):
    store.add_templates("t", "ada", "voice", "1", units(2))
    engine = open_engine(f"sqlite:///{path}")
    archive = tmp_path / "old.export"
    with reading(engine) as session:
        write_export(session, archive, "t", "voice", "1", ignore)
    store.delete_subject("t", "ada")
    assert store.rights.forget_old_deletions(-DAY, 10) == 2  # as if it were long ago
    dims = {("voice", "1"): 8}
    with pytest.raises(RestoreRefusedError, match="older than the deletion log"):
        import_archive(engine, ImportPlan(archive), dims, ignore, ignore)
    assert store.subjects("t", 10, None) == []
    assert import_archive(engine, ImportPlan(archive, resurrect=True), dims, ignore, ignore).subjects == 1
    engine.dispose()
