"""A copy of the key store is put back on either kind of database, without the keys of whoever was deleted since."""

import sqlite3
from collections.abc import Callable
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from matchka.errors import BackupError, KeyDestroyedError, RestoreRefusedError
from matchka.store.key_store.backup import write_key_backup
from matchka.store.key_store.key_store import KeyStore
from matchka.store.key_store.master_key import MasterKeySource, create_key_file
from matchka.store.key_store.restore import KeysRestored, restore_key_backup
from matchka.store.store import Store, opened_store
from matchka.store.vault.open_vault import OpenVault
from matchka.store.vault.rotation import rotate_tenant
from tests.factories.databases import UnderTest
from tests.factories.unit_vectors import unit_vectors

NAMES = ("ada", "ben", "cleo")


@pytest.fixture
def master(tmp_path: Path) -> Path:
    create_key_file(tmp_path / "master.key")
    return tmp_path / "master.key"


@contextmanager
def opened(keys: UnderTest, templates: UnderTest, master: Path):
    vault = OpenVault(KeyStore(keys.url), MasterKeySource(master))
    with closing(vault), opened_store(templates.url, vault) as store:
        yield store, vault


def enrolled(store: Store) -> None:
    for number, name in enumerate(NAMES):
        store.add_templates("t", name, "voice", "1", unit_vectors(1, number, dim=4))


def held(templates: UnderTest) -> set[bytes]:
    return {bytes(row[0]) for row in templates.rows("SELECT key_id FROM subjects WHERE key_id IS NOT NULL")}  # type: ignore[arg-type]


def put_back(copy: Path, keys: UnderTest, held: set[bytes]) -> KeysRestored:
    with closing(KeyStore(keys.url)) as target:
        return restore_key_backup(copy, target, held)


def test_copy_that_is_put_back_opens_the_living_and_not_whoever_was_deleted_since(
    databases: Callable[[str], UnderTest], master: Path, tmp_path: Path
):
    templates, keys, new = databases("templates"), databases("keys"), databases("new")
    copy = tmp_path / "keys.copy"
    with opened(keys, templates, master) as (store, vault):
        enrolled(store)
        rotate_tenant(vault, "t", lambda *_: None)
        write_key_backup(vault.keys.engine, copy)
        rows = [store.reference("t", name, "voice", "1").embedding for name in NAMES]
        sealed = templates.rows("SELECT embedding FROM templates ORDER BY subject_key")
        ids = templates.rows("SELECT key_id FROM subjects ORDER BY key")
        store.delete_subject("t", "ben")
        identity = vault.keys.identity
    assert put_back(copy, new, held(templates)) == KeysRestored(keys=2, left_out=1)
    with opened(new, templates, master) as (store, vault):
        for name, row in zip(NAMES, rows, strict=True):
            if name != "ben":
                np.testing.assert_array_equal(store.reference("t", name, "voice", "1").embedding, row)
        assert vault.keys.identity == identity
        assert vault.lacking([bytes(one[0]) for one in ids]) == {bytes(ids[1][0])}
        with pytest.raises(KeyDestroyedError):
            vault.opener([bytes(sealed[1][0])]).open([bytes(sealed[1][0])], [b""])
        # numbers of tenants' keys go on behind those that were rotated away
        assert max(number for number, _, _ in vault.keys.tenant_keys()) == 2
        with vault.keys.writing() as connection:
            assert vault.keys.add_tenant_key(connection, "another") == 3


def test_copy_goes_from_one_kind_of_database_into_the_other_and_back(
    databases: Callable[[str], UnderTest], master: Path, tmp_path: Path
):
    templates, keys = databases("templates"), databases("keys")
    with opened(keys, templates, master) as (store, vault):
        enrolled(store)
        write_key_backup(vault.keys.engine, tmp_path / "a.sqlite")
    with closing(KeyStore(f"sqlite:///{tmp_path / 'file.sqlite'}")) as file:
        assert restore_key_backup(tmp_path / "a.sqlite", file, set()).keys == 3
        write_key_backup(file.engine, tmp_path / "b.sqlite")
    new = databases("new")
    assert put_back(tmp_path / "b.sqlite", new, set()) == KeysRestored(3, 0)
    with opened(new, templates, master) as (store, _):
        assert store.reference("t", "ada", "voice", "1").template_count == 1


def test_copy_is_not_put_over_keys(databases: Callable[[str], UnderTest], master: Path, tmp_path: Path):
    templates, keys = databases("templates"), databases("keys")
    with opened(keys, templates, master) as (store, vault):
        enrolled(store)
        write_key_backup(vault.keys.engine, tmp_path / "copy")
        with pytest.raises(RestoreRefusedError, match="has keys already"):
            restore_key_backup(tmp_path / "copy", vault.keys, set())
        assert store.reference("t", "ada", "voice", "1").template_count == 1


def overwritten(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:8192] = bytes(4096)
    path.write_bytes(content)


def of_another_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE key_store SET version = 9")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.write_bytes(b"no database"), "no copy"),
        (lambda path: path.unlink(), "no copy"),
        (overwritten, "no copy|damaged"),
        (of_another_version, "version 9"),
    ],
    ids=["no database", "missing", "overwritten", "another version"],
)
def test_copy_that_is_none_is_refused_and_nothing_is_put_anywhere(
    database: UnderTest, tmp_path: Path, harm: Callable[[Path], object], said: str
):
    copy = tmp_path / "copy"
    with closing(KeyStore(f"sqlite:///{tmp_path / 'source.sqlite'}")) as source:
        write_key_backup(source.engine, copy)
    harm(copy)
    with pytest.raises(BackupError, match=said):
        put_back(copy, database, set())
    assert database.rows("SELECT count(*) FROM subject_keys") == [(0,)]
