"""Restores beside a vault: of backups in clear, under other key stores, and of what was killed on the way."""

import shutil
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from matchka.errors import BackupError, VaultLockedError
from matchka.store.engine import open_engine
from matchka.store.sqlite.backup import write_backup
from matchka.store.sqlite.restore import RestorePlan, restore
from matchka.store.store import opened_store
from matchka.store.vault.encryption import encrypt_store
from matchka.store.vault.open_vault import VaultPlan, opened_vault
from tests.factories.unit_vectors import unit_vectors
from tests.factories.vaults import VaultFolder, vault_folder

units = partial(unit_vectors, dim=16)


def ignore(_done: int, _total: int) -> None:
    """Nobody watches."""


@pytest.fixture
def in_clear(tmp_path: Path) -> VaultFolder:
    """`ada` and `bob` with two templates each; the vault is new."""
    folder = vault_folder(tmp_path / "vault")
    with opened_store(folder.url) as store:
        for number, name in enumerate(("ada", "bob")):
            store.add_templates("t", name, "voice", "1", units(2, number))
    return folder


def restored(archive: Path, database: Path, plan: VaultPlan) -> None:
    database.parent.mkdir(exist_ok=True)
    with opened_vault(plan) as vault:
        restore(RestorePlan(archive, database, database.exists(), vault=vault), ignore, ignore)


def require_served_in_clear(folder: VaultFolder) -> None:
    with folder.opened() as (store, vault):
        assert vault.accepts_clear
        expected = units(2, 1).mean(axis=0)
        np.testing.assert_allclose(store.reference("t", "bob", "voice", "1").embedding, expected, atol=1e-7)


def test_restore_that_is_refused_leaves_a_store_in_clear_readable(in_clear: VaultFolder):
    with in_clear.opened():
        pass  # its key store
    spoilt = in_clear.path / "spoilt.sqlite"
    shutil.copy(in_clear.database, spoilt)
    connection = sqlite3.connect(spoilt)
    connection.execute("UPDATE subject_references SET template_count = 5")
    connection.commit()
    connection.close()
    archive = in_clear.path / "spoilt.backup"
    write_backup(spoilt, archive, ignore)
    with pytest.raises(BackupError, match="agree with itself"):
        restored(archive, in_clear.database, in_clear.plan)
    require_served_in_clear(in_clear)


def test_restore_to_another_folder_leaves_a_store_in_clear_readable(in_clear: VaultFolder):
    archive, elsewhere = in_clear.path / "a.backup", in_clear.path / "elsewhere" / "matchka.sqlite"
    write_backup(in_clear.database, archive, ignore)
    restored(archive, elsewhere, in_clear.plan)
    require_served_in_clear(in_clear)
    with opened_vault(in_clear.plan) as vault, opened_store(f"sqlite:///{elsewhere}", vault) as store:
        store.require_keys()
        np.testing.assert_allclose(
            store.reference("t", "ada", "voice", "1").embedding, units(2, 0).mean(axis=0), atol=1e-7
        )
    require_served_in_clear(in_clear)


def test_new_store_beside_one_in_clear_leaves_that_readable(in_clear: VaultFolder):
    with in_clear.opened() as (store, _):
        store.add_templates("t", "cyd", "voice", "1", units(1, 2))
    with opened_vault(in_clear.plan) as vault, opened_store(f"sqlite:///{in_clear.path / 'new.sqlite'}", vault) as new:
        new.require_keys()
    require_served_in_clear(in_clear)


def test_restore_over_a_store_in_clear_accepts_nothing_in_clear_afterwards(in_clear: VaultFolder):
    archive = in_clear.path / "a.backup"
    write_backup(in_clear.database, archive, ignore)
    restored(archive, in_clear.database, in_clear.plan)
    with in_clear.opened() as (_, vault):
        assert not vault.accepts_clear


KILLED = """
import os, signal, sys
from pathlib import Path
from matchka.store.sqlite.restore import RestorePlan, restore

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

restore(RestorePlan(Path(sys.argv[1]), Path(sys.argv[2]), replace=True), lambda *_: None, die)
"""


def in_clear_in(folder: Path) -> list[str]:
    wanted = units(2, 0)[0].tobytes()
    return [path.name for path in folder.rglob("*") if path.is_file() and wanted in path.read_bytes()]


def test_restore_that_is_killed_leaves_nothing_in_clear_to_the_next(in_clear: VaultFolder):
    archive, root = in_clear.path / "a.backup", Path(__file__).parents[4]
    write_backup(in_clear.database, archive, ignore)
    with in_clear.opened() as (_, vault):
        engine = open_engine(in_clear.url)
        encrypt_store(engine, vault, ignore)
        engine.dispose()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, archive, in_clear.database],
        check=False,
        cwd=root,
        env={"PYTHONPATH": f"{root}:{root / 'service'}", "PATH": ""},
    )
    assert done.returncode == -9
    assert in_clear_in(in_clear.database.parent) == ["matchka.sqlite"]  # unpacked, with none of its log
    restored(archive, in_clear.database, in_clear.plan)
    assert in_clear_in(in_clear.database.parent) == []


def test_restore_with_another_key_store_is_refused_while_keys_are_to_be_destroyed(
    in_clear: VaultFolder, tmp_path: Path
):
    archive = in_clear.path / "a.backup"
    write_backup(in_clear.database, archive, ignore)
    with in_clear.opened() as (_, vault):
        engine = open_engine(in_clear.url)
        encrypt_store(engine, vault, ignore)
        engine.dispose()
    connection = sqlite3.connect(in_clear.database)  # as a process leaves it that is killed after the commit
    connection.execute("INSERT INTO key_erasures SELECT key_id FROM subjects WHERE subject_id = 'bob'")
    connection.commit()
    with pytest.raises(VaultLockedError, match="key store"):
        restored(archive, in_clear.database, vault_folder(tmp_path / "other").plan)
    assert connection.execute("SELECT count(*) FROM key_erasures").fetchone() == (1,)
    connection.close()
    restored(archive, in_clear.database, in_clear.plan)
    connection = sqlite3.connect(in_clear.key_database)  # ada's of before, and both of the backup's
    assert connection.execute("SELECT count(*) FROM subject_keys").fetchone() == (3,)
    connection.close()
