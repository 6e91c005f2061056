"""The store on a real PostgreSQL, whose transactions of several processes run side by side."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from sqlalchemy import create_engine

from matchka.errors import (
    ChallengeNotRedeemableError,
    KeyDestroyedError,
    RotationInProgressError,
    TooManyChallengesError,
    UnknownSubjectError,
    UnknownTemplateError,
)
from matchka.store.challenges import ChallengeLimits
from matchka.store.key_store.master_key import MasterKeySource, create_key_file
from matchka.store.store import Store
from matchka.store.vault.encryption import encrypt_store
from matchka.store.vault.open_vault import OpenVault, VaultPlan, opened_vault
from matchka.store.vault.rotation import rotate_tenant

OF_ONE = ("default", "ada")
PROCESSES = 8  # stores at once, each with an engine of its own as processes have
ROUNDS = 60  # of enrolling and deleting, in each


def programs() -> Path | None:
    """The folder of PostgreSQL's programs; Debian keeps them out of the path."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").is_file()), None)


def unprivileged() -> dict[str, Any]:
    """As whom PostgreSQL is started: it refuses to run as root."""
    return {} if os.getuid() else {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A database of a cluster of its own, which listens to a socket in its folder and to no port."""
    bin_folder = programs()
    if bin_folder is None or find_spec("psycopg") is None:
        pytest.skip("PostgreSQL's programs or its driver psycopg are not installed")
    identity = unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path may have some hundred characters only
    if identity:
        shutil.chown(folder, identity["user"])
    common = {"cwd": folder, "check": True, "capture_output": True, "timeout": 120, **identity}
    try:
        initialise = [bin_folder / "initdb", "-D", folder / "data", "-U", "matchka", "-A", "trust", "--no-sync"]
        subprocess.run([*initialise, "-E", "UTF8", "--locale", "C"], **common)
        control = [bin_folder / "pg_ctl", "-D", folder / "data", "-w", "-t", "100"]
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        subprocess.run([*control, "-l", folder / "log", "-o", options, "start"], **common)
        try:
            yield f"postgresql+psycopg://matchka@/postgres?host={folder}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **common)
    finally:
        shutil.rmtree(folder)


def enrol_and_delete(url: str, seed: int, together: Barrier) -> list[Exception]:
    """Enrol and delete the one subject in turns, with others who do the same; the failures it met."""
    rng, met = np.random.default_rng(seed), []
    with closing(Store(url)) as store:
        together.wait(60)
        for _ in range(ROUNDS):
            row = rng.normal(size=(1, 4)).astype(np.float32)
            try:
                enrolled = store.add_templates(*OF_ONE, "voice", "1", row / np.linalg.norm(row))
                with suppress(UnknownSubjectError, UnknownTemplateError):  # another one was sooner
                    if rng.random() < 0.5:
                        store.delete_template(OF_ONE[0], enrolled.template_ids[0])
                    else:
                        store.delete_subject(*OF_ONE)
            except Exception as error:
                met.append(error)
    return met


def test_one_subject_that_several_processes_enrol_and_delete_at_once_meets_no_failure(url: str):
    together = Barrier(PROCESSES)
    with ThreadPoolExecutor(PROCESSES) as executor:
        running = [executor.submit(enrol_and_delete, url, seed, together) for seed in range(PROCESSES)]
        met = [error for each in running for error in each.result()]
    assert met == []
    with closing(Store(url)) as store:
        with pytest.raises(UnknownSubjectError):  # each deleted what it had enrolled
            store.subject(*OF_ONE)
        assert list(store.all_references("voice", "1")) == []


FIVE = ChallengeLimits(lifetime_s=60.0, most_open=5, most_in_an_hour=5)


@pytest.fixture
def asked(url: str) -> Iterator[Store]:
    """A store with the one subject."""
    with closing(Store(url)) as store:
        store.add_templates(*OF_ONE, "voice", "1", np.eye(4, dtype=np.float32)[:1])
        yield store
        store.delete_subject(*OF_ONE)


def redeem(store: Store, challenge_id: str) -> bool:
    try:
        return store.challenges.redeem(*OF_ONE, challenge_id, "phrase") == ("apple", "banana")
    except ChallengeNotRedeemableError:
        return False


def test_challenge_that_a_thousand_redeem_at_once_is_redeemed_by_one(asked: Store, url: str):
    given = asked.challenges.issue(*OF_ONE, "phrase", FIVE, lambda _: ("apple", "banana"))
    with closing(Store(url)) as other, ThreadPoolExecutor(16) as executor:
        stores = [asked, other] * 500
        assert sum(executor.map(lambda store: redeem(store, given.challenge_id), stores)) == 1


def test_challenges_that_expire_or_are_too_many_are_refused_by_the_databases_clock(asked: Store):
    late = asked.challenges.issue(*OF_ONE, "phrase", ChallengeLimits(-0.001, 2, 2), lambda _: ("apple", "banana"))
    assert not redeem(asked, late.challenge_id)
    given = asked.challenges.issue(*OF_ONE, "phrase", ChallengeLimits(60.0, 1, 1), lambda earlier: earlier[0])
    with pytest.raises(TooManyChallengesError):
        asked.challenges.issue(*OF_ONE, "phrase", ChallengeLimits(60.0, 1, 1), lambda _: ("apple", "banana"))
    assert redeem(asked, given.challenge_id)
    assert not redeem(asked, "\0")


def test_challenges_given_at_once_keep_the_rate_and_see_each_other(asked: Store, url: str):
    seen = []

    def ask(store: Store) -> bool:
        try:
            store.challenges.issue(*OF_ONE, "phrase", FIVE, lambda earlier: (f"word{len(earlier)}",))
        except TooManyChallengesError:
            return False
        return True

    with closing(Store(url)) as other, ThreadPoolExecutor(8) as executor:
        assert sum(executor.map(ask, [asked, other] * 10)) == 5
    with pytest.raises(TooManyChallengesError):
        asked.challenges.issue(*OF_ONE, "phrase", FIVE, lambda _: ("apple",))
    six = ChallengeLimits(60.0, 6, 6)
    asked.challenges.issue(*OF_ONE, "phrase", six, lambda earlier: seen.extend(earlier) or ("apple",))
    assert sorted(seen) == [(f"word{number}",) for number in range(5)]


@pytest.fixture
def vaults(url: str, tmp_path: Path) -> tuple[str, VaultPlan]:
    """A database for templates and one for keys, both new, and the key."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for name in ("templates", "keys"):
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS of_{name} WITH (FORCE)")
            connection.exec_driver_sql(f"CREATE DATABASE of_{name}")
    engine.dispose()
    create_key_file(tmp_path / "master.key")
    source = MasterKeySource(tmp_path / "master.key")
    return (
        url.replace("/postgres?", "/of_templates?"),
        VaultPlan(source, url.replace("/postgres?", "/of_keys?")),
    )


def some(seed: int) -> np.ndarray:
    row = np.random.default_rng(seed).normal(size=(1, 16)).astype(np.float32)
    return row / np.linalg.norm(row)


def test_store_in_clear_is_encrypted_rotated_and_unreadable_in_an_older_copy(vaults: tuple[str, VaultPlan]):
    templates, plan = vaults
    with closing(Store(templates)) as store:
        for number in range(5):
            store.add_templates("t", f"s{number}", "voice", "1", some(number))
    with opened_vault(plan) as vault, closing(Store(templates, vault)) as store:
        assert isinstance(vault, OpenVault)
        store.require_keys()
        engine = create_engine(templates)
        assert encrypt_store(engine, vault, ignore) == 5
        assert rotate_tenant(vault, "t", ignore) == 5
        with vault.keys.rotating(), opened_vault(plan) as other, pytest.raises(RotationInProgressError):
            rotate_tenant(other, "t", ignore)
        assert rotate_tenant(vault, "t", ignore) == 5  # the lock was given back
        with engine.begin() as connection:
            for table in ("subjects", "templates", "subject_references"):
                connection.exec_driver_sql(f"CREATE TABLE old_{table} AS SELECT * FROM {table}")
        store.delete_subject("t", "s1")
        with engine.begin() as connection:  # as from a backup, or a replica that was cut off
            for table in ("subject_references", "templates", "subjects"):
                connection.exec_driver_sql(f"DELETE FROM {table}")
            for table in ("subjects", "templates", "subject_references"):
                connection.exec_driver_sql(f"INSERT INTO {table} SELECT * FROM old_{table}")
        (batch,) = store.all_references("voice", "1")
        np.testing.assert_allclose(batch.rows(), np.concatenate([some(n) for n in (0, 2, 3, 4)]), atol=1e-7)
        with pytest.raises(KeyDestroyedError):
            store.reference("t", "s1", "voice", "1")
        engine.dispose()


def test_two_replicas_with_one_vault_enrol_and_delete_side_by_side(vaults: tuple[str, VaultPlan]):
    templates, plan = vaults

    def work(seed: int) -> None:
        with opened_vault(plan) as vault, closing(Store(templates, vault)) as store:
            for number in range(20):
                store.add_templates(f"t{number % 2}", f"s{seed}-{number}", "voice", "1", some(100 * seed + number))
                store.add_templates("shared", "ada", "voice", "1", some(10_000 + 100 * seed + number))
                if number % 2:
                    store.delete_subject("t1", f"s{seed}-{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    with opened_vault(plan) as vault, closing(Store(templates, vault)) as store:
        assert isinstance(vault, OpenVault)
        assert len(vault.keys.tenant_keys()) == 3
        assert sum(len(batch.rows()) for batch in store.all_references("voice", "1")) == 41
        expected = np.concatenate([some(10_000 + 100 * seed + n) for seed in range(4) for n in range(20)]).mean(axis=0)
        np.testing.assert_allclose(store.reference("shared", "ada", "voice", "1").embedding, expected, atol=1e-6)


def ignore(_done: int, _total: int) -> None:
    """Nobody watches."""
