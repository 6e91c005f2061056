"""Templates are stored encrypted, bound to their rows, under keys that deletion destroys."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from matchka.errors import (
    DuplicateSampleError,
    KeyDestroyedError,
    SettingsError,
    StorageDamagedError,
    UnknownSubjectError,
    VaultLockedError,
)
from matchka.settings import Settings
from matchka.store import references
from matchka.store.engine import open_engine, reading
from matchka.store.integrity.check import check_store
from matchka.store.key_store.master_key import MasterKeySource
from matchka.store.store import Store, opened_store
from matchka.store.transfer.exporter import write_export
from matchka.store.vault import unsealing
from matchka.store.vault.encryption import encrypt_store
from matchka.store.vault.open_vault import VaultPlan, opened_vault
from matchka.store.vault.sealed import Binding
from tests.factories.databases import UnderTest
from tests.factories.unit_vectors import unit_vectors
from tests.factories.vaults import VaultFolder, vault_folder

DIM = 16
units = partial(unit_vectors, dim=DIM)


@pytest.fixture
def folder(tmp_path: Path) -> VaultFolder:
    return vault_folder(tmp_path)


@pytest.fixture
def place(tmp_path: Path, databases: Callable[[str], UnderTest]) -> VaultFolder:
    """As `folder`, in databases of each kind."""
    return vault_folder(tmp_path, databases)


def with_three(folder: VaultFolder) -> VaultFolder:
    """`ada`, `bob` and `cyd` with two templates each; `ada` has a face, too."""
    with folder.opened() as (store, _):
        for number, name in enumerate(("ada", "bob", "cyd")):
            store.add_templates("t", name, "voice", "1", units(2, number))
        store.add_templates("t", "ada", "face", "2", units(1, 9))
    return folder


@pytest.fixture
def three(folder: VaultFolder) -> VaultFolder:
    return with_three(folder)


@pytest.fixture
def three_placed(place: VaultFolder) -> VaultFolder:
    """As `three`, in databases of each kind."""
    return with_three(place)


def change(path: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement, values)
    connection.commit()
    connection.close()


def rows(path: Path, query: str) -> list[tuple]:
    connection = sqlite3.connect(path)
    found = connection.execute(query).fetchall()
    connection.close()
    return found


def pieces(vectors: np.ndarray) -> Iterator[bytes]:
    """Every 16 consecutive bytes of some vectors."""
    for vector in vectors:
        data = vector.astype("<f4").tobytes()
        for start in range(len(data) - 15):
            yield data[start : start + 16]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def files_with(folder: Path, vectors: np.ndarray) -> set[str]:
    """The files below a folder that have any 16 consecutive bytes of a vector."""
    wanted = set(pieces(vectors))
    return {
        name
        for name, content in bytes_of(folder).items()
        if any(content[start : start + 16] in wanted for start in range(len(content) - 15))
    }


def test_encrypted_store_gives_back_what_was_stored(three_placed: VaultFolder):
    with three_placed.opened() as (store, _):
        found = store.reference("t", "bob", "voice", "1")
        np.testing.assert_allclose(found.embedding, units(2, 1).mean(axis=0), atol=1e-7)
        (batch,) = store.all_references("voice", "1")
        expected = np.stack([units(2, seed).mean(axis=0) for seed in range(3)])
        np.testing.assert_allclose(batch.rows(), expected, atol=1e-7)
        with store.feed.look() as look:
            assert sorted(look.references("t", [1], "face")[1] or {}) == ["2"]
        assert store.references_of_keys("t", [1, 2, 99], "voice", "1").keys() == {1, 2}


def test_files_of_an_encrypted_store_hold_no_sixteen_bytes_of_a_template_or_reference(three: VaultFolder):
    plain = np.concatenate(
        [units(2, 0), units(2, 1), units(2, 2), units(1, 9), *(units(2, n).mean(0)[None] for n in range(3))]
    )
    with three.opened() as (store, _):
        store.add_templates("t", "dan", "voice", "1", units(2, 3))
        three_and_dan = np.concatenate([plain, units(2, 3)])
        assert any(name.endswith("-wal") for name in bytes_of(three.path))  # the logs are there to be looked at
        assert files_with(three.path, three_and_dan) == set()
    assert files_with(three.path, three_and_dan) == set()


def test_files_of_a_store_in_clear_hold_its_templates(tmp_path: Path):
    with opened_store(f"sqlite:///{tmp_path / 'clear.sqlite'}") as store:
        store.add_templates("t", "ada", "voice", "1", units(2, 0))
    assert files_with(tmp_path, units(2, 0)) == {"clear.sqlite"}  # the search finds what is there


def test_two_enrolments_of_one_recording_store_different_bytes(place: VaultFolder):
    with place.opened() as (store, _):
        for name in ("ada", "bob"):
            store.add_templates("t", name, "voice", "1", units(1, 5))
    for table in ("templates", "subject_references"):
        stored = place.templates.rows(f"SELECT embedding, digest FROM {table}")
        assert len({embedding for embedding, _ in stored}) == len({digest for _, digest in stored}) == 2


def test_stored_bytes_are_aes_gcm_under_keys_wrapped_as_documented(three: VaultFolder):
    master = bytes.fromhex(three.master.read_text())
    ((number, tenant, wrapped_tenant),) = rows(
        three.key_database,
        "SELECT number, tenant, wrapped FROM tenant_keys JOIN tenant_key_wraps ON number = tenant_key",
    )
    about = b"matchka-tenant-key-1" + number.to_bytes(8, "big") + tenant.encode()
    tenant_key = AESGCM(master).decrypt(wrapped_tenant[:12], wrapped_tenant[12:], about)
    wrapped = dict(rows(three.key_database, "SELECT key_id, wrapped FROM subject_keys"))
    query = "SELECT template_id, subject_key, embedding FROM templates WHERE model = 'face'"
    ((template_id, subject_key, stored),) = rows(three.database, query)
    assert np.isnan(np.frombuffer(stored[:4], "<f4"))
    key_id = stored[4:20]
    key = AESGCM(tenant_key).decrypt(wrapped[key_id][:12], wrapped[key_id][12:], key_id)
    place = subject_key.to_bytes(8, "big") + bytes.fromhex(template_id)
    about = place + b"matchka-embedding-1" + b"\0\1t" + b"\0\4face" + b"\0\1" + b"2"
    plain = AESGCM(key).decrypt(stored[20:32], stored[32:], about)
    np.testing.assert_array_equal(np.frombuffer(plain, "<f4"), units(1, 9)[0])


@pytest.mark.parametrize(
    "swap",
    [
        "UPDATE templates SET embedding = (SELECT embedding FROM templates o WHERE o.subject_key = 2 LIMIT 1), "
        "digest = (SELECT digest FROM templates o WHERE o.subject_key = 2 LIMIT 1) WHERE subject_key = 1",
        "UPDATE subject_references SET embedding = (SELECT embedding FROM subject_references o WHERE subject_key = 2), "
        "digest = (SELECT digest FROM subject_references o WHERE subject_key = 2) WHERE subject_key = 1",
        "UPDATE subject_references SET embedding = (SELECT embedding FROM templates WHERE subject_key = 1 LIMIT 1), "
        "digest = (SELECT digest FROM templates WHERE subject_key = 1 LIMIT 1) WHERE subject_key = 1",
        "UPDATE subjects SET tenant = 'other'",
        "UPDATE subject_references SET version = '3'",
        "UPDATE templates SET version = '3'",
    ],
    ids=["template of another", "reference of another", "template as reference", "tenant", "version", "its version"],
)
def test_row_with_what_belongs_to_another_is_not_opened(three_placed: VaultFolder, swap: str):
    three_placed.templates.change(swap)
    tenant = "other" if "tenant" in swap else "t"
    version = "3" if "references SET version" in swap else "1"
    with three_placed.opened() as (store, vault):
        if "UPDATE templates" in swap:
            read = partial(store.add_templates, "t", "ada", "voice", "3" if "version" in swap else "1", units(1, 7))
        else:
            read = partial(store.reference, tenant, "ada", "voice", version)
        with pytest.raises(StorageDamagedError):
            read()
        engine = open_engine(three_placed.url)
        with reading(engine) as session:
            assert check_store(session, lambda _done, _total: None, vault).findings
        engine.dispose()


def test_embedding_in_clear_in_a_store_of_encrypted_ones_is_refused(three: VaultFolder):
    with opened_store(f"sqlite:///{three.path / 'other.sqlite'}") as store:
        store.add_templates("t", "ada", "voice", "1", units(1, 50))
    ((planted, digest),) = rows(three.path / "other.sqlite", "SELECT embedding, digest FROM subject_references")
    change(
        three.database, "UPDATE subject_references SET embedding = ?, digest = ? WHERE subject_key = 2", planted, digest
    )
    with three.opened() as (store, _):
        with pytest.raises(StorageDamagedError, match="in clear"):
            store.reference("t", "bob", "voice", "1")
        with pytest.raises(StorageDamagedError, match="in clear"):
            list(store.all_references("voice", "1"))


def test_embedding_in_clear_of_a_subject_whose_key_was_taken_off_is_not_encrypted(three: VaultFolder):
    with opened_store(f"sqlite:///{three.path / 'other.sqlite'}") as store:
        store.add_templates("t", "ada", "voice", "1", units(1, 50))
    ((planted, digest),) = rows(three.path / "other.sqlite", "SELECT embedding, digest FROM subject_references")
    change(three.database, "UPDATE subjects SET key_id = NULL WHERE key = 2")
    for table in ("templates", "subject_references"):
        change(three.database, f"UPDATE {table} SET embedding = ?, digest = ? WHERE subject_key = 2", planted, digest)
    with three.opened() as (store, vault):
        engine = open_engine(three.url)
        with pytest.raises(StorageDamagedError, match="in clear"):
            encrypt_store(engine, vault, lambda _done, _total: None)
        engine.dispose()
        with pytest.raises(StorageDamagedError, match="in clear"):
            store.add_templates("t", "bob", "voice", "1", units(1, 51))
        with pytest.raises(StorageDamagedError, match="in clear"):
            store.reference("t", "bob", "voice", "1")
        store.delete_subject("t", "bob")  # the way out
        store.add_templates("t", "bob", "voice", "1", units(1, 51))
    assert rows(three.key_database, "SELECT count(*) FROM subject_keys") == [(4,)]  # bob's old one is nobody's


def test_service_refuses_what_is_in_clear_as_soon_as_another_process_has_encrypted_all(folder: VaultFolder):
    with opened_store(folder.url) as store:
        store.add_templates("t", "ada", "voice", "1", units(1, 1))
    ((planted, digest),) = rows(folder.database, "SELECT embedding, digest FROM subject_references")
    with folder.opened() as (store, vault):
        assert vault.accepts_clear
        with folder.opened() as (_, other):
            engine = open_engine(folder.url)
            encrypt_store(engine, other, lambda _done, _total: None)
            engine.dispose()
        assert store.reference("t", "ada", "voice", "1").template_count == 1
        change(folder.database, "UPDATE subject_references SET embedding = ?, digest = ?", planted, digest)
        with pytest.raises(StorageDamagedError, match="in clear"):
            store.reference("t", "ada", "voice", "1")


def test_check_of_an_encrypted_store_finds_nothing_wrong_and_a_changed_byte(three: VaultFolder):
    engine = open_engine(three.url)
    with three.opened() as (_, vault):
        with reading(engine) as session:
            assert check_store(session, lambda _done, _total: None, vault).findings == ()
        ((stored,),) = rows(three.database, "SELECT embedding FROM templates WHERE model = 'face'")
        change(
            three.database,
            "UPDATE templates SET embedding = ? WHERE model = 'face'",
            stored[:-1] + bytes([stored[-1] ^ 1]),
        )
        with reading(engine) as session:
            found = check_store(session, lambda _done, _total: None, vault).findings
    engine.dispose()
    assert [problem.what for problem in found] == ["a template whose digest is of other bytes"]


def test_copy_of_yesterday_after_a_deletion_opens_the_others_and_not_the_deleted(three: VaultFolder):
    yesterday = three.path / "yesterday.sqlite"
    shutil.copy(three.database, yesterday)
    with three.opened() as (store, _):
        store.delete_subject("t", "bob")
    shutil.copy(yesterday, three.database)  # past every command
    with three.opened() as (store, vault):
        with pytest.raises(KeyDestroyedError):
            store.reference("t", "bob", "voice", "1")
        (batch,) = store.all_references("voice", "1")
        assert batch.keys.tolist() == [1, 3]
        assert store.references_of_keys("t", [1, 2, 3], "voice", "1").keys() == {1, 3}
        np.testing.assert_allclose(store.reference("t", "cyd", "voice", "1").embedding, units(2, 2).mean(0), atol=1e-7)
        engine = open_engine(three.url)
        with reading(engine) as session:
            found = check_store(session, lambda _done, _total: None, vault).findings
        engine.dispose()
        assert [(problem.what, problem.where) for problem in found] == [
            ("a subject whose key was destroyed", "subject key 2")
        ]


def test_subject_of_an_older_copy_whose_key_is_gone_enrols_anew(three: VaultFolder):
    shutil.copy(three.database, three.path / "yesterday.sqlite")
    with three.opened() as (store, _):
        store.delete_subject("t", "bob")
    shutil.copy(three.path / "yesterday.sqlite", three.database)
    with three.opened() as (store, _):
        store.add_templates("t", "bob", "voice", "1", units(1, 40))
        found = store.reference("t", "bob", "voice", "1")
        assert found.template_count == 1
        np.testing.assert_array_equal(found.embedding, units(1, 40)[0])


def test_template_of_a_subject_whose_key_is_gone_is_deleted_with_all_that_nothing_opens(three: VaultFolder):
    shutil.copy(three.database, three.path / "yesterday.sqlite")
    with three.opened() as (store, _):
        store.delete_subject("t", "ada")
    shutil.copy(three.path / "yesterday.sqlite", three.database)
    with three.opened() as (store, _):
        first = store.subject("t", "ada").templates[0].template_id
        assert store.delete_template("t", first).reference is None
        with pytest.raises(UnknownSubjectError):
            store.subject("t", "ada")
        assert store.reference("t", "bob", "voice", "1").template_count == 2
    assert rows(three.database, "SELECT count(*) FROM deletions") == [(3,)]
    assert rows(three.database, "SELECT * FROM key_erasures") == []


def test_export_leaves_out_a_subject_whose_key_is_gone(three: VaultFolder):
    shutil.copy(three.database, three.path / "yesterday.sqlite")
    with three.opened() as (store, _):
        store.delete_subject("t", "bob")
    shutil.copy(three.path / "yesterday.sqlite", three.database)
    target = three.path / "a.matchka-export"
    with three.opened() as (_, vault):
        engine = open_engine(three.url)
        with reading(engine) as session:
            manifest = write_export(session, target, "t", "voice", "1", lambda _done, _total: None, vault)
        engine.dispose()
    assert (manifest.subjects, manifest.templates) == (2, 4)
    with zipfile.ZipFile(target) as archive, archive.open("embeddings.npy") as file:
        stored = {row.tobytes() for row in np.load(file)}
    assert stored == {row.tobytes() for row in np.concatenate([units(2, 0), units(2, 2)])}


def test_deletion_of_the_last_template_destroys_the_key_and_of_another_one_does_not(three_placed: VaultFolder):
    keys = "SELECT count(*) FROM subject_keys"
    with three_placed.opened() as (store, _):
        first, second, face = (one.template_id for one in store.subject("t", "ada").templates)
        for template_id, left in ((first, 3), (face, 3), (second, 2)):
            store.delete_template("t", template_id)
            assert three_placed.keys.rows(keys) == [(left,)]
    assert three_placed.templates.rows("SELECT * FROM key_erasures") == []


def test_destroyed_key_is_in_no_file(three: VaultFolder):
    ((key_id,),) = rows(three.database, "SELECT key_id FROM subjects WHERE subject_id = 'bob'")
    ((wrapped,),) = [
        row[1:] for row in rows(three.key_database, "SELECT key_id, wrapped FROM subject_keys") if row[0] == key_id
    ]
    with three.opened() as (store, _):
        store.add_templates("t", "dan", "voice", "1", units(1, 3))
        store.delete_subject("t", "bob")
        assert not any(wrapped[12:] in content for content in bytes_of(three.path).values())


def test_enrolment_that_is_refused_leaves_no_key_behind(three_placed: VaultFolder):
    with three_placed.opened() as (store, _), pytest.raises(DuplicateSampleError):
        store.add_templates("t", "new", "voice", "1", np.concatenate([units(1, 6), units(1, 6)]))
    assert three_placed.keys.rows("SELECT count(*) FROM subject_keys") == [(3,)]


def test_refused_enrolment_waits_for_no_reader_of_the_key_store(three: VaultFolder, monkeypatch: pytest.MonkeyPatch):
    with three.opened() as (store, vault):
        reader = sqlite3.connect(three.key_database, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM subject_keys").fetchone()
        waits: list[float] = []
        erase_log = vault.keys.erase_log
        monkeypatch.setattr(vault.keys, "erase_log", lambda wait_s: waits.append(wait_s) or erase_log(wait_s))
        with pytest.raises(DuplicateSampleError):
            store.add_templates("t", "new", "voice", "1", np.concatenate([units(1, 6), units(1, 6)]))
        reader.close()
    assert waits == [0.0]
    assert rows(three.key_database, "SELECT count(*) FROM subject_keys") == [(3,)]


def test_new_tenant_whose_master_key_is_slow_to_come_keeps_no_other_enrolment_waiting(three: VaultFolder):
    asked, come = three.path / "asked", three.path / "come"
    os.mkfifo(come)
    script = f"touch {asked}; cat {come} > /dev/null; cat {three.master}"
    with three.opened() as (store, vault), ThreadPoolExecutor(1) as pool:
        vault._source = MasterKeySource(command=f"sh -c '{script}'")
        slow = pool.submit(store.add_templates, "u", "ada", "voice", "1", units(1, 20))
        end = time.monotonic() + 30
        while not asked.exists():
            assert time.monotonic() < end
            time.sleep(0.01)
        try:
            store.add_templates("t", "dan", "voice", "1", units(1, 21))
            assert not slow.done()
        finally:
            come.write_bytes(b"")
        slow.result(30)
        assert store.reference("u", "ada", "voice", "1").template_count == 1


KILLED_AT = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import Engine, event
from tests.factories.vaults import VaultFolder

folder, action, at, place = VaultFolder(Path(sys.argv[1])), *sys.argv[2:]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

with folder.opened() as (store, vault):
    if place == "engine":
        event.listen(store._engine, at, die)
    elif at == "destroyed":
        event.listen(vault.keys.engine, "commit", lambda c: event.listen(store._engine, "begin", die))
    else:
        event.listen(vault.keys.engine, at, die)
    if action == "delete":
        store.delete_subject("t", "bob")
    else:
        import numpy as np
        store.add_templates("t", "new", "voice", "1", np.eye(1, 16, dtype=np.float32))
"""


def run_and_kill(folder: VaultFolder, *arguments: str) -> None:
    root = Path(__file__).parents[4]
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT, folder.path, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={"PYTHONPATH": f"{root}:{root / 'service'}", "PATH": ""},
    )
    assert done.returncode == -9, done.stderr


@pytest.mark.parametrize(
    ("at", "place", "is_deleted"),
    [("commit", "engine", False), ("begin", "keys", True), ("commit", "keys", True), ("destroyed", "keys", True)],
    ids=[
        "before the deletion's commit",
        "before the key is destroyed",
        "before that is committed",
        "before it is forgotten",
    ],
)
def test_deletion_that_is_killed_leaves_a_living_subject_or_is_finished_by_the_next_start(
    three: VaultFolder, at: str, place: str, is_deleted: bool
):
    run_and_kill(three, "delete", at, place)
    keys = "SELECT count(*) FROM subject_keys"
    with three.opened() as (store, _):
        if is_deleted:
            assert rows(three.key_database, keys) == [(2,)]
            with pytest.raises(UnknownSubjectError):
                store.reference("t", "bob", "voice", "1")
        else:
            assert rows(three.key_database, keys) == [(3,)]
            assert store.reference("t", "bob", "voice", "1").template_count == 2
        assert rows(three.database, "SELECT * FROM key_erasures") == []
        assert store.reference("t", "ada", "voice", "1").template_count == 2


def test_enrolment_that_is_killed_leaves_at_most_a_key_of_nobody(three: VaultFolder):
    run_and_kill(three, "enrol", "commit", "engine")
    assert rows(three.key_database, "SELECT count(*) FROM subject_keys") == [(4,)]
    with three.opened() as (store, _):
        store.add_templates("t", "new", "voice", "1", units(1, 8))
        assert store.reference("t", "new", "voice", "1").template_count == 1


def test_encrypted_store_without_a_master_key_is_locked(three_placed: VaultFolder):
    with opened_store(three_placed.url) as store:
        with pytest.raises(VaultLockedError, match="no master key"):
            store.require_keys()
        with pytest.raises(VaultLockedError):
            store.reference("t", "ada", "voice", "1")
        with pytest.raises(VaultLockedError):
            store.add_templates("t", "ada", "voice", "1", units(1, 30))
        with pytest.raises(VaultLockedError):
            store.delete_subject("t", "ada")


def test_store_with_the_key_store_of_another_is_locked(three_placed: VaultFolder, tmp_path: Path):
    other = vault_folder(tmp_path / "other")
    with (
        opened_vault(other.plan) as vault,
        opened_store(three_placed.url, vault) as store,
        pytest.raises(VaultLockedError, match="key store"),
    ):
        store.require_keys()


@pytest.mark.parametrize("spoil", ["missing", "another", "open", "no key"])
def test_vault_with_a_key_that_does_not_open_it_is_locked_and_serves_nothing(three: VaultFolder, spoil: str):
    if spoil == "missing":
        three.master.unlink()
    elif spoil == "another":
        three.master.write_text("ab" * 32)
    elif spoil == "open":
        three.master.chmod(0o644)
    else:
        three.master.write_text("secret")
    with opened_vault(three.plan) as vault, opened_store(three.url, vault) as store:
        with pytest.raises(VaultLockedError) as refused:
            store.require_keys()
        assert refused.value.remedy
        with pytest.raises(VaultLockedError):
            store.reference("t", "ada", "voice", "1")
        with pytest.raises(VaultLockedError):
            store.add_templates("t", "ada", "voice", "1", units(1, 30))
        with pytest.raises(VaultLockedError):
            next(iter(store.all_references("voice", "1")))


def test_vault_whose_tenant_keys_are_damaged_is_locked_and_says_what_to_restore(three: VaultFolder):
    change(three.key_database, "UPDATE tenant_key_wraps SET wrapped = zeroblob(60)")
    with opened_vault(three.plan) as vault, opened_store(three.url, vault) as store:
        with pytest.raises(VaultLockedError, match="cannot be opened") as refused:
            store.require_keys()
        assert "vault backup" in refused.value.remedy


def test_templates_and_keys_in_one_file_by_two_spellings_are_refused(tmp_path: Path):
    urls = [f"sqlite:///{tmp_path}/x.sqlite", f"sqlite:///{tmp_path}/../{tmp_path.name}/x.sqlite"]
    with pytest.raises(SettingsError, match="in one file"):
        VaultPlan.of(Settings(database_url=urls[0], key_database_url=urls[1]))


def test_subjects_of_two_tenants_are_under_keys_of_their_own(place: VaultFolder):
    with place.opened() as (store, vault):
        for tenant in ("a", "b"):
            store.add_templates(tenant, "ada", "voice", "1", units(1, 1))
        assert [tenant for _, tenant, _ in vault.keys.tenant_keys()] == ["a", "b"]
        assert [batch.tenant for batch in store.all_references("voice", "1")] == ["a", "b"]
        assert all(len(batch.rows()) == 1 for batch in store.all_references("voice", "1"))


def test_binding_of_names_that_run_into_each_other_differs():
    assert Binding("ab", "c", "1").of_reference(1) != Binding("a", "bc", "1").of_reference(1)


def test_thousands_of_keys_are_found_whether_they_were_made_together_or_not(place: VaultFolder):
    with place.opened() as (_, vault):
        ids = [key for _ in range(3) for key in vault.make_keys("t", 200)]
        wanted = [key for key in ids[::7] if key is not None]  # a range of which most is not asked for
        assert vault.keys.wrapped_keys(wanted).keys() >= set(wanted)
        assert vault.lacking([*wanted, bytes(16)]) == {bytes(16)}
        vault.destroy(wanted[:5])
        assert vault.lacking(wanted) == set(wanted[:5])


def test_concurrent_enrolments_of_new_subjects_make_one_tenant_key(place: VaultFolder):
    with place.opened() as (store, vault):

        def enrol(number: int, store: Store = store) -> None:
            store.add_templates("t", f"s{number}", "voice", "1", units(1, number))

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(enrol, range(30)))
        assert len(vault.keys.tenant_keys()) == 1
        assert sum(len(batch.rows()) for batch in store.all_references("voice", "1")) == 30


def test_references_opened_in_other_processes_are_those_that_were_stored(
    folder: VaultFolder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(unsealing, "WORTH_BATCHES", 1)
    monkeypatch.setattr(unsealing, "_cores", lambda: 3)
    monkeypatch.setattr(references, "ROWS_AT_ONCE", 4)
    with folder.opened() as (store, _):
        for number in range(30):
            store.add_templates("t" if number % 2 else "u", f"s{number}", "voice", "1", units(1, number))
        rows_of = {}
        for batch in list(store.all_references("voice", "1")):  # all begun before any is waited for
            rows_of.update(zip(batch.keys.tolist(), batch.rows(), strict=True))
        with store.feed.look() as look:
            for number in range(30):
                found = look.references("t" if number % 2 else "u", [number + 1], "voice")[number + 1]
                np.testing.assert_array_equal(rows_of[number + 1], (found or {})["1"])
        ((stored,),) = rows(folder.database, "SELECT embedding FROM subject_references WHERE subject_key = 29")
        spoilt = stored[:-1] + bytes([stored[-1] ^ 1])
        change(folder.database, "UPDATE subject_references SET embedding = ? WHERE subject_key = 29", spoilt)
        with pytest.raises(StorageDamagedError):
            [batch.rows() for batch in store.all_references("voice", "1")]


def test_process_that_opens_references_ends_with_its_input():
    process = subprocess.run(
        [sys.executable, "-m", "matchka.store.vault.unsealing"], input=b"", capture_output=True, check=True, timeout=60
    )
    assert (process.stdout, process.stderr) == (b"", b"")
