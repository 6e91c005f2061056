"""The master key's file, command and rights; the key store's own copy."""

import os
import sqlite3
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from matchka.errors import BackupError, StoreError, VaultError, VaultLockedError
from matchka.store.engine import open_engine, reading
from matchka.store.key_store import backup
from matchka.store.key_store.backup import write_key_backup
from matchka.store.key_store.key_store import KeyStore
from matchka.store.key_store.master_key import MasterKeySource, _require_private, create_key_file
from matchka.store.vault.open_vault import OpenVault
from matchka.store.vault.status import vault_status
from tests.factories.unit_vectors import unit_vectors
from tests.factories.vaults import VaultFolder, vault_folder

units = partial(unit_vectors, dim=16)
PATIENCE_S = 30.0


@pytest.fixture
def folder(tmp_path: Path) -> VaultFolder:
    return vault_folder(tmp_path)


def key_ids(path: Path) -> set[bytes]:
    connection = sqlite3.connect(path)
    found = {key_id for (key_id,) in connection.execute("SELECT key_id FROM subject_keys")}
    connection.close()
    return found


def test_new_key_file_is_of_its_user_alone_and_is_read_back(tmp_path: Path):
    made = create_key_file(tmp_path / "master.key")
    assert stat.S_IMODE((tmp_path / "master.key").stat().st_mode) == 0o600
    assert MasterKeySource(tmp_path / "master.key").read() == made
    assert len(made.secret) == 32
    assert made.secret.hex() not in repr(made)
    assert create_key_file(tmp_path / "other.key").name != made.name


def test_key_file_that_is_there_is_not_replaced(tmp_path: Path):
    create_key_file(tmp_path / "master.key")
    before = (tmp_path / "master.key").read_bytes()
    with pytest.raises(VaultError, match="file of this name"):
        create_key_file(tmp_path / "master.key")
    assert (tmp_path / "master.key").read_bytes() == before


@pytest.mark.parametrize("rights", [0o644, 0o640, 0o606, 0o660, 0o610])
def test_key_file_that_others_may_use_is_refused(tmp_path: Path, rights: int):
    create_key_file(tmp_path / "master.key")
    (tmp_path / "master.key").chmod(rights)
    with pytest.raises(VaultLockedError, match="Other users") as refused:
        MasterKeySource(tmp_path / "master.key").read()
    assert refused.value.value == f"rights {rights:04o}, {tmp_path / 'master.key'}"
    assert "chmod 600" in refused.value.remedy


@pytest.mark.parametrize("rights", [0o600, 0o640])
def test_key_file_of_another_user_is_refused(rights: int):
    other = os.geteuid() + 1
    found = os.stat_result((stat.S_IFREG | rights, 0, 0, 1, other, 0, 65, 0, 0, 0))
    with pytest.raises(VaultLockedError, match="another user") as refused:
        _require_private(Path("master.key"), found)
    assert refused.value.value == f"user {other}, master.key"


@pytest.mark.parametrize("content", ["", "ab" * 31, "ab" * 33, "zz" * 32, "ab" * 32 + " cd"])
def test_file_without_a_key_is_refused_and_not_repeated(tmp_path: Path, content: str):
    path = tmp_path / "master.key"
    path.touch(0o600)
    path.write_text(content)
    with pytest.raises(VaultLockedError, match="64 hexadecimal") as refused:
        MasterKeySource(path).read()
    assert not content or content not in str(refused.value)


def test_key_of_a_command_is_read_and_its_failures_show_no_output(tmp_path: Path):
    made = create_key_file(tmp_path / "master key")
    assert MasterKeySource(command=f"cat '{tmp_path / 'master key'}'").read() == made
    for command in ("false", "no-such-program-here", "cat 'unfinished", "sh -c 'echo secret; exit 3'"):
        with pytest.raises(VaultLockedError, match="failed") as refused:
            MasterKeySource(command=command).read()
        assert "secret" not in str(refused.value)
    with pytest.raises(VaultLockedError, match="64 hexadecimal") as refused:
        MasterKeySource(command="echo secret").read()
    assert "secret" not in str(refused.value)


def test_key_store_of_another_version_is_refused(folder: VaultFolder):
    KeyStore(f"sqlite:///{folder.key_database}").close()
    connection = sqlite3.connect(folder.key_database)
    connection.execute("UPDATE key_store SET version = 9")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="version 9"):
        KeyStore(f"sqlite:///{folder.key_database}")


def test_copy_of_the_key_store_opens_the_templates_and_replaces_the_one_before(folder: VaultFolder):
    copy = folder.path / "copies" / "keys.copy"
    with folder.opened() as (store, vault):
        for number, name in enumerate(("ada", "bob")):
            store.add_templates("t", name, "voice", "1", units(1, number))
        write_key_backup(vault.keys.engine, copy)
        before = key_ids(copy)
        store.delete_subject("t", "bob")
        write_key_backup(vault.keys.engine, copy)
        (gone,) = before - key_ids(copy)
        assert gone not in copy.read_bytes()
    folder.key_database.unlink()
    copy.rename(folder.key_database)
    with folder.opened() as (store, _):
        assert store.reference("t", "ada", "voice", "1").template_count == 1


def test_copy_that_a_service_would_keep_of_a_key_store_in_a_server_is_refused(tmp_path: Path):
    with pytest.raises(VaultError, match="its own file") as refused:
        KeyStore("postgresql://nobody@/nowhere", tmp_path / "copy")
    assert "vault backup" in refused.value.remedy


def test_copy_that_cannot_be_written_is_said(folder: VaultFolder):
    (folder.path / "file").touch()
    with folder.opened() as (_, vault), pytest.raises(BackupError):
        write_key_backup(vault.keys.engine, folder.path / "file" / "copy")


def test_service_writes_the_copy_anew_after_a_deletion(folder: VaultFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backup, "GATHER_S", 0.05)
    copy = folder.path / "copies" / "keys.copy"
    keys = KeyStore(f"sqlite:///{folder.key_database}", copy)
    vault = OpenVault(keys, MasterKeySource(folder.master))
    made = {key_id for key_id in vault.make_keys("t", 3) if key_id is not None}
    wait_for(lambda: copy.exists() and key_ids(copy) == made)
    vault.destroy([min(made)])
    wait_for(lambda: key_ids(copy) == made - {min(made)})
    vault.destroy([max(made)])
    vault.close()  # what is due is written before the end
    assert len(key_ids(copy)) == 1


def test_copies_written_by_several_at_once_are_all_whole(folder: VaultFolder):
    copy = folder.path / "copies" / "keys.copy"
    with folder.opened() as (_, vault):
        made = {key_id for key_id in vault.make_keys("t", 20_000) if key_id is not None}
        with ThreadPoolExecutor(4) as pool:
            for writing in [pool.submit(write_key_backup, vault.keys.engine, copy) for _ in range(24)]:
                writing.result()
                assert key_ids(copy) == made


def wrapped_of(folder: VaultFolder, subject: str) -> bytes:
    connection = sqlite3.connect(folder.database)
    ((key_id,),) = connection.execute("SELECT key_id FROM subjects WHERE subject_id = ?", [subject]).fetchall()
    connection.close()
    connection = sqlite3.connect(folder.key_database)
    ((wrapped,),) = connection.execute("SELECT wrapped FROM subject_keys WHERE key_id = ?", [key_id]).fetchall()
    connection.close()
    return wrapped[12:]


def is_in_a_file(folder: VaultFolder, needle: bytes) -> bool:
    return any(needle in path.read_bytes() for path in folder.key_database.parent.iterdir())


def test_destroyed_key_that_a_reader_keeps_in_the_log_is_counted_and_noted_until_it_has_left(folder: VaultFolder):
    with folder.opened() as (store, vault):
        for number, name in enumerate(("ada", "bob")):
            store.add_templates("t", name, "voice", "1", units(1, number))
        wrapped = wrapped_of(folder, "bob")
        assert is_in_a_file(folder, wrapped)
        reader = sqlite3.connect(folder.key_database, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM subject_keys").fetchone()
        store.delete_subject("t", "bob")
        assert store.erasures_waiting
        engine = open_engine(folder.url)
        with reading(engine) as session:
            status = vault_status(session, vault)
        assert (status.erasures_waiting, status.unused_keys) == (1, 0)
        assert is_in_a_file(folder, wrapped)
        assert not store.wait_until_erased(0.1)
        reader.close()
        assert store.wait_until_erased(PATIENCE_S)
        assert not is_in_a_file(folder, wrapped)
        with reading(engine) as session:
            assert vault_status(session, vault).erasures_waiting == 0
        engine.dispose()


def test_destroyed_key_that_a_killed_process_left_in_the_log_leaves_it_at_the_next_start(folder: VaultFolder):
    with folder.opened() as (store, vault):
        store.add_templates("t", "bob", "voice", "1", units(1, 1))
        wrapped = wrapped_of(folder, "bob")
        survivor = sqlite3.connect(folder.key_database, isolation_level=None)  # keeps the log when the others close
        survivor.execute("BEGIN")
        survivor.execute("SELECT count(*) FROM subject_keys").fetchone()
        vault.keys.destroy(key_ids(folder.key_database), 0.0)
    survivor.execute("COMMIT")
    assert is_in_a_file(folder, wrapped)
    keys = KeyStore(f"sqlite:///{folder.key_database}")
    wait_for(lambda: not is_in_a_file(folder, wrapped))
    keys.close()
    survivor.close()


def wait_for(is_so) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)
