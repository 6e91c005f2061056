"""Keys are rotated and stores encrypted while others use them; what is killed half way is finished by the next run."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from matchka.errors import RotationInProgressError, StorageDamagedError, VaultError, VaultLockedError
from matchka.store.engine import open_engine
from matchka.store.key_store.master_key import MasterKeySource, create_key_file
from matchka.store.store import opened_store
from matchka.store.vault import encryption, rotation
from matchka.store.vault.encryption import encrypt_store
from matchka.store.vault.open_vault import OpenVault, VaultPlan, opened_vault
from matchka.store.vault.rotation import rotate_master, rotate_tenant
from tests.factories.databases import UnderTest
from tests.factories.unit_vectors import unit_vectors
from tests.factories.vaults import VaultFolder, vault_folder

units = partial(unit_vectors, dim=16)
SUBJECTS = 30


def ignore(_done: int, _total: int) -> None:
    """Nobody watches."""


@pytest.fixture
def folder(tmp_path: Path) -> VaultFolder:
    return vault_folder(tmp_path)


@pytest.fixture
def place(tmp_path: Path, databases: Callable[[str], UnderTest]) -> VaultFolder:
    """As `folder`, in databases of each kind."""
    return vault_folder(tmp_path, databases)


@pytest.fixture
def thirty(folder: VaultFolder) -> VaultFolder:
    with folder.opened() as (store, _):
        enrol(store.add_templates)
    return folder


@pytest.fixture
def placed(place: VaultFolder) -> VaultFolder:
    """As `thirty`, in databases of each kind."""
    with place.opened() as (store, _):
        enrol(store.add_templates)
    return place


@pytest.fixture
def placed_in_clear(place: VaultFolder) -> VaultFolder:
    with opened_store(place.url) as store:
        enrol(store.add_templates)
    return place


@pytest.fixture
def thirty_in_clear(folder: VaultFolder) -> VaultFolder:
    with opened_store(folder.url) as store:
        enrol(store.add_templates)
    return folder


def enrol(add) -> None:
    for number in range(SUBJECTS):
        add("t" if number % 3 else "u", f"s{number}", "voice", "1", units(2, number))


def rows(path: Path, query: str) -> list[tuple]:
    connection = sqlite3.connect(path)
    found = connection.execute(query).fetchall()
    connection.close()
    return found


def require_all_readable(folder: VaultFolder) -> None:
    with folder.opened() as (store, _):
        for number in range(SUBJECTS):
            found = store.reference("t" if number % 3 else "u", f"s{number}", "voice", "1")
            np.testing.assert_allclose(found.embedding, units(2, number).mean(axis=0), atol=1e-7)


def test_rotated_tenant_key_wraps_all_of_its_subjects_and_the_old_one_is_gone(placed: VaultFolder):
    before = dict(placed.keys.rows("SELECT key_id, wrapped FROM subject_keys"))
    stored = placed.templates.rows("SELECT embedding FROM templates")
    steps: list[tuple[int, int]] = []
    with placed.opened() as (_, vault):
        assert rotate_tenant(vault, "t", lambda done, total: steps.append((done, total))) == 20
        assert sorted(tenant for _, tenant, _ in vault.keys.tenant_keys()) == ["t", "u"]
    after = dict(placed.keys.rows("SELECT key_id, wrapped FROM subject_keys"))
    assert before.keys() == after.keys()
    assert sum(before[key] != after[key] for key in before) == 20
    assert steps[0] == (0, 20)
    assert steps[-1] == (20, 20)
    assert placed.templates.rows("SELECT embedding FROM templates") == stored  # embeddings stay as they are
    require_all_readable(placed)


def test_tenant_key_is_rotated_while_others_read_enrol_and_delete(placed: VaultFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rotation, "KEYS_AT_ONCE", 3)
    with placed.opened() as (store, vault), placed.opened() as (other, _), ThreadPoolExecutor(3) as pool:
        made = pool.submit(
            lambda: [store.add_templates("t", f"n{n}", "voice", "1", units(1, 90 + n)) for n in range(10)]
        )
        gone = pool.submit(lambda: [store.delete_subject("u", f"s{n}") for n in (0, 3, 6)])
        read = pool.submit(lambda: [sum(len(b.rows()) for b in other.all_references("voice", "1")) for _ in range(10)])
        for _ in range(3):
            rotate_tenant(vault, "t", ignore)
        assert len(made.result()) == 10
        assert len(gone.result()) == 3
        assert all(27 <= count <= 40 for count in read.result())
        found = sum(len(batch.rows()) for batch in other.all_references("voice", "1"))
        assert found == 37
        assert len(vault.keys.tenant_keys()) == 2


def test_tenant_without_a_key_is_refused(thirty: VaultFolder):
    with thirty.opened() as (_, vault), pytest.raises(VaultError, match="no key"):
        rotate_tenant(vault, "nobody", ignore)


def test_master_key_is_replaced_in_two_steps_and_at_each_moment_the_one_of_the_settings_opens(placed: VaultFolder):
    old = placed.path / "old.key"
    shutil.copy(placed.master, old)
    new_file = placed.path / "new.key"
    new = create_key_file(new_file)
    with placed.opened() as (store, vault):
        assert not rotate_master(vault, new, ignore)
        assert vault.keys.masters() == {vault.master.name: 2, new.name: 2}
        require_all_readable(placed)  # with the old one
        new_file.replace(placed.master)
        require_all_readable(placed)  # and with the new one
        store.add_templates("v", "late", "voice", "1", units(1, 70))  # the service that runs goes over by itself
        assert vault.keys.masters()[new.name] == 3
    with placed.opened() as (_, vault):
        assert rotate_master(vault, MasterKeySource(placed.master).read(), ignore)
        assert vault.keys.masters() == {new.name: 3}
    require_all_readable(placed)
    shutil.copy(old, placed.master)
    with opened_vault(placed.plan) as vault, pytest.raises(VaultLockedError):
        vault.require_open()


def test_master_key_that_does_not_open_a_late_tenant_yet_is_refused_until_the_first_step_is_repeated(
    thirty: VaultFolder,
):
    old, new_file = thirty.path / "old.key", thirty.path / "new.key"
    shutil.copy(thirty.master, old)
    new = create_key_file(new_file)
    with thirty.opened() as (store, vault):
        rotate_master(vault, new, ignore)
        store.add_templates("v", "late", "voice", "1", units(1, 70))  # under the old one only
        with vault.keys.writing() as connection, pytest.raises(VaultError, match="meanwhile") as refused:
            rotation._keep_only(connection, new.name)
        assert refused.value.value == "v"
    shutil.copy(new_file, thirty.master)
    with opened_vault(thirty.plan) as locked, pytest.raises(VaultLockedError, match="not the one"):
        locked.require_open()
    shutil.copy(old, thirty.master)
    with thirty.opened() as (_, vault):
        rotate_master(vault, new, ignore)
    shutil.copy(new_file, thirty.master)
    with thirty.opened() as (_, vault):
        assert rotate_master(vault, new, ignore)
    require_all_readable(thirty)


def test_new_tenant_under_a_master_key_that_was_rotated_away_is_refused_and_the_new_key_opens_all(thirty: VaultFolder):
    new_file = thirty.path / "new.key"
    new = create_key_file(new_file)
    by_shell = VaultPlan(MasterKeySource(new_file), thirty.plan.key_database_url)
    with thirty.opened() as (store, vault):  # a service, whose settings are forgotten
        rotate_master(vault, new, ignore)
        with opened_vault(by_shell) as other:
            assert isinstance(other, OpenVault)
            assert rotate_master(other, new, ignore)
        with pytest.raises(VaultLockedError, match="not the one"):
            store.add_templates("v", "late", "voice", "1", units(1, 70))
        assert store.reference("t", "s1", "voice", "1").template_count == 2
        new_file.replace(thirty.master)
        store.add_templates("v", "late", "voice", "1", units(1, 70))
        assert vault.keys.masters() == {new.name: 3}
    require_all_readable(thirty)


def test_new_tenant_under_a_master_key_that_does_not_open_a_late_one_is_refused(thirty: VaultFolder):
    old, new_file = thirty.path / "old.key", thirty.path / "new.key"
    shutil.copy(thirty.master, old)
    new = create_key_file(new_file)
    with thirty.opened() as (store, vault):
        rotate_master(vault, new, ignore)
        store.add_templates("v", "late", "voice", "1", units(1, 70))  # under the old one only
        shutil.copy(new_file, thirty.master)
        with pytest.raises(VaultLockedError, match="not the one"):
            store.add_templates("w", "later", "voice", "1", units(1, 71))
    shutil.copy(old, thirty.master)
    require_all_readable(thirty)


def test_rotation_beside_another_one_is_refused(placed: VaultFolder):
    with placed.opened() as (_, vault), placed.opened() as (_, other), vault.keys.rotating():
        with pytest.raises(RotationInProgressError):
            rotate_tenant(other, "t", ignore)
        with pytest.raises(RotationInProgressError):
            rotate_master(other, create_key_file(placed.path / "new.key"), ignore)
        with pytest.raises(RotationInProgressError):
            encrypt_store(open_engine(placed.url), other, ignore)


KILLED_IN_THE_MIDDLE = """
import os, signal, sys
from pathlib import Path
from matchka.store.engine import open_engine
from matchka.store.key_store.master_key import MasterKeySource
from matchka.store.vault import encryption, rotation
from tests.factories.vaults import VaultFolder

folder, what, after = VaultFolder(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
rotation.KEYS_AT_ONCE = encryption.SUBJECTS_AT_ONCE = 4

def progress(done, total):
    if done >= after:
        os.kill(os.getpid(), signal.SIGKILL)

with folder.opened() as (store, vault):
    if what == "tenant":
        rotation.rotate_tenant(vault, "t", progress)
    elif what == "master":
        rotation.rotate_master(vault, MasterKeySource(folder.path / "new.key").read(), progress)
    else:
        encryption.encrypt_store(open_engine(folder.url), vault, progress)
"""


def kill_in_the_middle(folder: VaultFolder, what: str, after: int) -> None:
    root = Path(__file__).parents[4]
    done = subprocess.run(
        [sys.executable, "-c", KILLED_IN_THE_MIDDLE, folder.path, what, str(after)],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={"PYTHONPATH": f"{root}:{root / 'service'}", "PATH": ""},
    )
    assert done.returncode == -9, done.stderr


@pytest.mark.parametrize("after", [0, 8, 20])
def test_rotation_of_a_tenant_that_is_killed_is_finished_by_the_next(thirty: VaultFolder, after: int):
    kill_in_the_middle(thirty, "tenant", after)
    require_all_readable(thirty)
    with thirty.opened() as (_, vault):
        assert len(vault.keys.tenant_keys()) == 3
        assert rotate_tenant(vault, "t", ignore) == 20 - after
        assert [tenant for _, tenant, is_current in vault.keys.tenant_keys() if is_current] == ["u", "t"]
        assert len(vault.keys.tenant_keys()) == 2
    require_all_readable(thirty)


def test_rotation_of_the_master_key_that_is_killed_is_finished_by_the_next(thirty: VaultFolder):
    new = create_key_file(thirty.path / "new.key")
    kill_in_the_middle(thirty, "master", 1)
    with thirty.opened() as (_, vault):
        assert vault.keys.masters()[new.name] == 1
        rotate_master(vault, new, ignore)
        assert vault.keys.masters()[new.name] == 2
    require_all_readable(thirty)


def needles(numbers: range) -> list[bytes]:
    return [row.tobytes()[at : at + 16] for n in numbers for row in units(2, n) for at in range(0, 48, 16)]


def test_store_in_clear_is_encrypted_and_keeps_nothing_in_clear_in_any_file(thirty_in_clear: VaultFolder):
    folder = thirty_in_clear
    assert any(needle in folder.database.read_bytes() for needle in needles(range(SUBJECTS)))
    with folder.opened() as (store, vault):  # as the service: mixed until it is done
        store.delete_template("t", store.subject("t", "s4").templates[0].template_id)
        assert store.reference("t", "s4", "voice", "1").template_count == 1
        store.delete_subject("t", "s4")
        store.add_templates("t", "s4", "voice", "1", units(2, 4))
        store.add_templates("t", "s1", "voice", "1", units(1, 60))
        assert store.reference("t", "s2", "voice", "1").template_count == 2
        store.delete_template("t", store.subject("t", "s1").templates[-1].template_id)
        engine = open_engine(folder.url)
        assert encrypt_store(engine, vault, ignore) == SUBJECTS - 2
        assert encrypt_store(engine, vault, ignore) == 0
        engine.dispose()
        content = b"".join(path.read_bytes() for path in folder.path.rglob("*") if path.is_file())
        assert not any(needle in content for needle in needles(range(SUBJECTS)))
        assert not vault.accepts_clear
    require_all_readable(folder)


def test_encryption_beside_a_long_read_is_refused_until_nothing_is_in_clear_in_the_files(
    thirty_in_clear: VaultFolder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(encryption, "ERASE_WAIT_S", 0.3)
    folder = thirty_in_clear
    reader = sqlite3.connect(folder.database, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM templates").fetchone()
    with folder.opened() as (_, vault):
        engine = open_engine(folder.url)
        with pytest.raises(VaultError, match="long read"):
            encrypt_store(engine, vault, ignore)
        assert vault.accepts_clear
        reader.close()
        assert encrypt_store(engine, vault, ignore) == 0
        engine.dispose()
        assert not vault.accepts_clear
        content = b"".join(path.read_bytes() for path in folder.path.rglob("*") if path.is_file())
        assert not any(needle in content for needle in needles(range(SUBJECTS)))


def test_service_with_a_store_in_clear_says_so_and_serves(
    thirty_in_clear: VaultFolder, caplog: pytest.LogCaptureFixture
):
    with thirty_in_clear.opened() as (store, vault):
        assert vault.accepts_clear
        assert sum(len(batch.rows()) for batch in store.all_references("voice", "1")) == SUBJECTS
    assert "30 subjects are not encrypted yet" in caplog.text


def test_encryption_that_is_killed_is_finished_by_the_next(thirty_in_clear: VaultFolder):
    kill_in_the_middle(thirty_in_clear, "encrypt", 12)
    require_all_readable(thirty_in_clear)
    with thirty_in_clear.opened() as (_, vault):
        engine = open_engine(thirty_in_clear.url)
        assert encrypt_store(engine, vault, ignore) == SUBJECTS - 12
        engine.dispose()
    require_all_readable(thirty_in_clear)
    assert not any(needle in thirty_in_clear.database.read_bytes() for needle in needles(range(SUBJECTS)))


def test_half_encrypted_store_with_another_key_store_is_refused(folder: VaultFolder, tmp_path: Path):
    with opened_store(folder.url) as store:
        for number in range(120):
            store.add_templates("t", f"s{number}", "voice", "1", units(1, number))
    kill_in_the_middle(folder, "encrypt", 4)
    other = vault_folder(tmp_path / "other")
    with (
        opened_vault(other.plan) as vault,
        opened_store(folder.url, vault) as store,
        pytest.raises(VaultLockedError, match="key store"),
    ):
        store.require_keys()
    with opened_store(folder.url) as store, pytest.raises(VaultLockedError, match="no master key"):
        store.require_keys()
    with folder.opened() as (store, _):
        np.testing.assert_array_equal(store.reference("t", "s0", "voice", "1").embedding, units(1, 0)[0])


def test_encryption_of_a_damaged_store_stops_and_leaves_it(thirty_in_clear: VaultFolder):
    connection = sqlite3.connect(thirty_in_clear.database)
    connection.execute("UPDATE templates SET embedding = zeroblob(64) WHERE subject_key = 7")
    connection.commit()
    connection.close()
    with thirty_in_clear.opened() as (_, vault):
        engine = open_engine(thirty_in_clear.url)
        with pytest.raises(StorageDamagedError):
            encrypt_store(engine, vault, ignore)
        engine.dispose()
        assert vault.accepts_clear


def test_encryption_beside_enrolments_loses_none(placed_in_clear: VaultFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(encryption, "SUBJECTS_AT_ONCE", 2)
    with placed_in_clear.opened() as (store, vault), ThreadPoolExecutor(2) as pool:
        engine = open_engine(placed_in_clear.url)
        added = [
            pool.submit(store.add_templates, "t", f"s{n}", "voice", "1", units(1, 200 + n))
            for n in range(SUBJECTS)
            if n % 3
        ]
        encrypt_store(engine, vault, ignore)
        engine.dispose()
        for future in added:
            future.result()
        for number in range(SUBJECTS):
            if number % 3:
                expected = np.concatenate([units(2, number), units(1, 200 + number)]).mean(axis=0)
                found = store.reference("t", f"s{number}", "voice", "1")
                assert found.template_count == 3
                np.testing.assert_allclose(found.embedding, expected, atol=1e-6)
