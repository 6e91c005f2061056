"""API keys in backups: a restored store has those of the one that it replaces, so that no revoked key comes back."""

from pathlib import Path

import pytest

from matchka.store.attempts import AttemptRules
from matchka.store.keys.records import KeySpec
from matchka.store.sqlite.backup import write_backup
from matchka.store.sqlite.restore import RestorePlan, RestoreReport, restore
from matchka.store.store import opened_store
from tests.factories.unit_vectors import unit_vectors


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def ignore(_done: int, _total: int) -> None:
    """Nobody watches."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with a subject and a key, backed up; since then the key was revoked, and another made."""
    path = tmp_path / "matchka.sqlite"
    with opened_store(url(path)) as store:
        store.add_templates("t", "ada", "voice", "1", unit_vectors(1, 1, dim=8))
        key_id = store.keys.create(KeySpec("old")).key.key_id
        write_backup(path, tmp_path / "a.backup", ignore)
        store.keys.revoke(key_id)
        store.keys.create(KeySpec("new"))
    return path


def restored(path: Path, database: Path) -> RestoreReport:
    return restore(RestorePlan(path.with_name("a.backup"), database, replace=True, resurrect=True), ignore, ignore)


def in_force(path: Path) -> list[str]:
    with opened_store(url(path)) as store:
        keys = store.keys.read().keys
    assert keys is not None
    return sorted(key.name for key in keys.values())


def test_restored_store_keeps_the_keys_of_the_one_that_it_replaces(path: Path):
    with opened_store(url(path)) as store:
        before = store.keys.list_keys()
    assert restored(path, path).old_keys == 0
    with opened_store(url(path)) as store:
        assert store.keys.list_keys() == before
    assert in_force(path) == ["new"]


def test_store_restored_where_there_is_none_has_the_keys_of_the_backup_and_says_so(path: Path, tmp_path: Path):
    assert restored(path, tmp_path / "other.sqlite").old_keys == 1
    assert in_force(tmp_path / "other.sqlite") == ["old"]  # so that a protected service stays one


def test_store_restored_in_place_of_a_damaged_one_has_the_keys_of_the_backup(path: Path):
    path.write_bytes(b"not a database" * 500)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    assert restored(path, path).old_keys == 1


def test_restored_store_keeps_the_waits_of_the_one_that_it_replaces(path: Path):
    rules = AttemptRules(free_in_an_hour=1, longest_wait_s=3600.0)
    with opened_store(url(path)) as store:
        for _ in range(6):
            store.attempts.note_failed("k", "t", "ada", 1, rules)
        waited = store.attempts.wait_s("k", "t", "ada")
    restored(path, path)
    with opened_store(url(path)) as store:
        assert 0 < store.attempts.wait_s("k", "t", "ada") <= waited


def test_restored_store_keeps_no_waits_of_subjects_that_it_does_not_have(path: Path):
    rules = AttemptRules(free_in_an_hour=1, longest_wait_s=3600.0)
    with opened_store(url(path)) as store:
        store.add_templates("t", "ben", "voice", "1", unit_vectors(1, 2, dim=8))  # since the backup
        store.attempts.note_failed("k", "t", "ben", 6, rules)
    restored(path, path)
    with opened_store(url(path)) as store:
        store.add_templates("t", "eva", "voice", "1", unit_vectors(1, 3, dim=8))  # gets the number that ben had
        assert store.attempts.wait_s("k", "t", "eva") == 0.0


def test_store_restored_in_place_of_one_that_never_had_a_key_has_the_keys_of_the_backup(path: Path, tmp_path: Path):
    other = tmp_path / "other.sqlite"
    with opened_store(url(other)):
        pass
    assert restored(path, other).old_keys == 1
    assert in_force(other) == ["old"]
