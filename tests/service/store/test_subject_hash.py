import hashlib
import logging
import sqlite3
from pathlib import Path

import pytest

from matchka.errors import StoreError, VaultError, VaultLockedError
from matchka.store.key_store.master_key import MasterKeySource, create_key_file
from matchka.store.subject_hash import SubjectHasher, read_hasher
from matchka.store.vault.open_vault import HASH_KEY_OWNER, OpenVault, opened_vault
from matchka.store.vault.rotation import rotate_master, rotate_tenant
from matchka.store.vault.vault import CLEAR, LockedVault
from tests.factories.vaults import VaultFolder, vault_folder

KEY = bytes(range(32))


def ignore(_done: int, _total: int) -> None:
    pass


@pytest.fixture
def folder(tmp_path: Path) -> VaultFolder:
    return vault_folder(tmp_path)


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """RFC 2104, by hand."""
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in block) + message).digest()
    return hashlib.sha256(bytes(b ^ 0x5C for b in block) + inner).digest()


def test_hash_is_the_documented_hmac_of_tenant_and_id():
    key = hmac_sha256(KEY, b"matchka-subject-hash-1")
    assert SubjectHasher(KEY).hash_of("clinic", "éva") == hmac_sha256(key, b"\0\x06clinic" + "éva".encode()).hex()


def test_names_that_run_together_have_different_hashes():
    hasher = SubjectHasher(KEY)
    assert hasher.hash_of("ab", "c") != hasher.hash_of("a", "bc")


def test_name_of_a_key_is_that_of_no_other():
    assert SubjectHasher(KEY).name == hmac_sha256(KEY, b"matchka-name-1").hex()[:16] != SubjectHasher(bytes(32)).name


def test_key_without_a_vault_is_made_once_in_a_file_of_its_own_user(tmp_path: Path):
    file = tmp_path / "data" / "subject-hash.key"
    first = read_hasher(CLEAR, file).hash_of("t", "eva")
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_hasher(CLEAR, file).hash_of("t", "eva") == first
    assert SubjectHasher(bytes.fromhex(file.read_text())).hash_of("t", "eva") == first


@pytest.mark.parametrize(("is_alone", "warned"), [(True, 0), (False, 1)])
def test_key_of_one_data_folder_is_warned_of_where_others_may_write_the_store(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_alone: bool, warned: int
):
    read_hasher(CLEAR, tmp_path / "key", is_alone=is_alone)
    told = [record for record in caplog.records if "MATCHKA_SUBJECT_HASH_KEY_FILE" in record.getMessage()]
    assert len(told) == warned


def test_key_of_the_key_store_is_not_warned_of(folder: VaultFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with opened_vault(folder.plan) as vault:
        read_hasher(vault, tmp_path / "key", is_alone=False)
    assert caplog.records == []


def test_key_that_others_may_read_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = tmp_path / "subject-hash.key"
    read_hasher(CLEAR, file)
    file.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        read_hasher(CLEAR, file)
    assert "other users may read" in caplog.text


@pytest.mark.parametrize("content", [b"", b"ab" * 31, b"\xff" * 64, b"zz" * 32])
def test_file_that_holds_no_key_is_refused_and_kept(tmp_path: Path, content: bytes):
    file = tmp_path / "subject-hash.key"
    file.write_bytes(content)
    with pytest.raises(StoreError, match="64 hexadecimal digits"):
        read_hasher(CLEAR, file)
    assert file.read_bytes() == content


def test_key_that_cannot_be_written_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be read or written"):
        read_hasher(CLEAR, tmp_path / "file" / "subject-hash.key")


def test_key_with_a_vault_is_in_the_key_store_only_and_wrapped(folder: VaultFolder, tmp_path: Path):
    with opened_vault(folder.plan) as vault:
        hasher = read_hasher(vault, tmp_path / "subject-hash.key")
        key = vault.hash_key(None)
        assert vault.is_unused
    assert key is not None
    assert SubjectHasher(key).name == hasher.name
    assert not (tmp_path / "subject-hash.key").exists()
    files = [one for one in tmp_path.rglob("*") if one.is_file()]
    assert not [one for one in files if key in one.read_bytes() or key.hex().encode() in one.read_bytes()]
    with opened_vault(folder.plan) as vault:
        assert read_hasher(vault, tmp_path / "subject-hash.key").name == hasher.name


def test_key_of_before_the_vault_goes_over_to_the_key_store(folder: VaultFolder, tmp_path: Path):
    file = tmp_path / "subject-hash.key"
    before = read_hasher(CLEAR, file)
    with opened_vault(folder.plan) as vault:
        assert read_hasher(vault, file).name == before.name
        assert not file.exists()
        assert read_hasher(vault, file).name == before.name


def test_other_key_in_the_file_than_in_the_key_store_is_kept_and_not_used(
    folder: VaultFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    file = tmp_path / "subject-hash.key"
    with opened_vault(folder.plan) as vault:
        before = read_hasher(vault, file)
        other = read_hasher(CLEAR, file)
        assert read_hasher(vault, file).name == before.name != other.name
    assert "is not used" in caplog.text
    assert file.exists()


def test_key_outlasts_the_rotation_of_the_master_key(folder: VaultFolder, tmp_path: Path):
    new = tmp_path / "keys" / "new.key"
    with opened_vault(folder.plan) as vault:
        assert isinstance(vault, OpenVault)
        before = read_hasher(vault, tmp_path / "none")
        rotate_master(vault, create_key_file(new), ignore)
    folder.master.write_bytes(new.read_bytes())
    with opened_vault(folder.plan) as vault:
        assert isinstance(vault, OpenVault)
        rotate_master(vault, MasterKeySource(new).read(), ignore)
        assert read_hasher(vault, tmp_path / "none").name == before.name
    with sqlite3.connect(folder.key_database) as database:
        assert database.execute("SELECT count(*) FROM tenant_key_wraps").fetchone() == (1,)
    database.close()


def test_key_is_not_rotated_like_a_tenants(folder: VaultFolder, tmp_path: Path):
    with opened_vault(folder.plan) as vault:
        assert isinstance(vault, OpenVault)
        read_hasher(vault, tmp_path / "none")
        with pytest.raises(VaultError, match="never replaced"):
            rotate_tenant(vault, HASH_KEY_OWNER, ignore)


def test_locked_vault_gives_no_key_and_makes_none(tmp_path: Path):
    locked = LockedVault(VaultLockedError("locked", remedy="unlock"))
    with pytest.raises(VaultLockedError):
        read_hasher(locked, tmp_path / "subject-hash.key")
    assert not any(tmp_path.iterdir())
