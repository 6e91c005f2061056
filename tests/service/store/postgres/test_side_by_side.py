"""The store on a real PostgreSQL, whose transactions of several processes run side by side."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, inspect

from matchka.errors import (
    ChallengeNotRedeemableError,
    KeyDestroyedError,
    RotationInProgressError,
    TooManyChallengesError,
    UnknownSubjectError,
    UnknownTemplateError,
)
from matchka.store.audit.checkpoint import CheckpointFile
from matchka.store.audit.log import records_in
from matchka.store.audit.prunings import Prunings
from matchka.store.audit.records import Event, Outcome
from matchka.store.audit.verification import verify_log
from matchka.store.audit.writer import writing_audit
from matchka.store.challenges import ChallengeLimits
from matchka.store.engine import changing_tables, open_engine, reading
from matchka.store.enrolment_review import Review
from matchka.store.integrity.check import check_store
from matchka.store.key_store.master_key import MasterKeySource, create_key_file
from matchka.store.keys.records import KeySpec
from matchka.store.records import Reference
from matchka.store.rights.terms import Terms, TermsChange
from matchka.store.store import Store
from matchka.store.subject_hash import SubjectHasher
from matchka.store.transfer.exporter import write_export
from matchka.store.transfer.import_plan import ImportPlan
from matchka.store.transfer.importer import import_archive
from matchka.store.vault.encryption import encrypt_store
from matchka.store.vault.open_vault import OpenVault, VaultPlan, opened_vault
from matchka.store.vault.rotation import rotate_tenant
from tests.factories.postgres import Cluster, fresh_database

OF_ONE = ("default", "ada")
PROCESSES = 8  # stores at once, each with an engine of its own as processes have
HASHER = SubjectHasher(b"h" * 32)
ROUNDS = 25  # of enrolling and deleting, in each


@pytest.fixture
def url(postgres_url: str) -> str:
    return postgres_url


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


PAIRS = 40


def enrol_each(url: str, seed: int, together: Barrier) -> list[Exception]:
    """Enrol subjects one by one, each at the same moment as the other does; each of them twice."""
    met = []
    with closing(Store(url)) as store:
        for number in range(PAIRS):
            together.wait(60)
            try:
                store.add_templates("t", f"s{number // 2}", "voice", "1", some(1000 * seed + number))
            except Exception as error:
                met.append(error)
    return met


def test_subjects_that_two_enrol_at_the_same_moment_have_all_templates_in_their_references(url: str):
    Store(url).close()
    together = Barrier(2)
    with ThreadPoolExecutor(2) as executor:
        running = [executor.submit(enrol_each, url, seed, together) for seed in range(2)]
        assert [error for each in running for error in each.result()] == []
    with closing(Store(url)) as store:
        for number in range(PAIRS // 2):
            found = store.reference("t", f"s{number}", "voice", "1")
            rows = [some(1000 * seed + place) for seed in range(2) for place in (2 * number, 2 * number + 1)]
            assert found.template_count == 4
            np.testing.assert_allclose(found.embedding, np.concatenate(rows).mean(axis=0), atol=1e-6)


def test_subjects_that_are_imported_and_enrolled_at_the_same_moment_agree_with_their_templates(
    url: str, cluster: Cluster, tmp_path: Path
):
    names = [f"s{number}" for number in range(12)]
    with fresh_database(cluster) as other, closing(Store(other)) as source:
        for number, name in enumerate(names):
            source.add_templates("t", name, "voice", "1", some(number))
        with reading(source.engines[0]) as session:
            write_export(session, tmp_path / "a.export", "t", "voice", "1", ignore)

    def import_all(store: Store) -> None:
        plan = ImportPlan(tmp_path / "a.export", existing="replace", resurrect=True)
        import_archive(store.engines[0], plan, {("voice", "1"): 16}, ignore, ignore)

    with closing(Store(url)) as store, ThreadPoolExecutor(3) as executor:
        for turn in range(3):
            running = [executor.submit(import_all, store)]
            running += [
                executor.submit(store.add_templates, "t", name, "voice", "1", some(1000 * (turn + 1) + number))
                for number, name in enumerate(reversed(names))
            ]
            for one in running:
                one.result()
            with reading(store.engines[0]) as session:
                assert check_store(session, ignore).findings == ()


def test_ten_stores_that_start_at_once_on_an_empty_database_are_all_ready(url: str):
    together = Barrier(10)

    def start(_number: int) -> str:
        together.wait(60)
        with closing(Store(url)) as store:
            return store.identity

    with ThreadPoolExecutor(10) as executor:
        assert len(set(executor.map(start, range(10)))) == 1


FIVE = ChallengeLimits(lifetime_s=60.0, most_open=5, most_in_an_hour=5)


@pytest.fixture
def asked(url: str) -> Iterator[Store]:
    """A store with the one subject."""
    with closing(Store(url)) as store:
        store.add_templates(*OF_ONE, "voice", "1", np.eye(4, dtype=np.float32)[:1])
        yield store


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


def sweep(url: str, together: Barrier) -> list[str]:
    """Delete expired subjects until there are none; whom it deleted."""
    deleted: list[str] = []
    with closing(Store(url, hasher=HASHER)) as store:
        together.wait(60)
        while found := store.delete_expired(3):
            deleted += [one.subject_id for one in found]
    return deleted


def test_expired_subjects_are_unknown_at_once_and_deleted_by_one_of_several_processes_each(url: str):
    names = [f"s{number}" for number in range(40)]
    with closing(Store(url, hasher=HASHER)) as store:
        soon = store.rights.time + timedelta(days=1)
        for number, name in enumerate([*names, "stays"]):
            row = np.random.default_rng(number).normal(size=(1, 4)).astype(np.float32)
            terms = TermsChange("form 7", expires_at=soon)
            store.add_templates("expiring", name, "voice", "1", row / np.linalg.norm(row), terms=terms)
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE subjects SET expires_at = clock_timestamp() WHERE tenant = 'expiring' AND subject_id <> 'stays'"
            )
        for name in names:
            with pytest.raises(UnknownSubjectError):
                store.reference("expiring", name, "voice", "1")
        assert store.rights.terms("expiring", "stays") == Terms("form 7", expires_at=soon)
        assert [one.subject_id for one in store.subjects("expiring", 100, None)] == ["stays"]
        person = store.rights.person("expiring", "stays")
        assert (len(person.templates), person.terms.consent) == (1, "form 7")
    together = Barrier(PROCESSES)
    with ThreadPoolExecutor(PROCESSES) as executor:
        running = [executor.submit(sweep, url, together) for _ in range(PROCESSES)]
        deleted = [name for each in running for name in each.result()]
    with closing(Store(url, hasher=HASHER)) as store:
        deleted += [one.subject_id for one in store.delete_expired(100)]  # those that were locked at the last look
        assert sorted(deleted) == sorted(names)
        with engine.connect() as connection:
            noted = connection.exec_driver_sql("SELECT subject_hash FROM deletions WHERE tenant = 'expiring'").scalars()
            assert sorted(noted) == sorted(HASHER.hash_of("expiring", name) for name in names)
        engine.dispose()
        assert store.rights.forget_old_deletions(timedelta(days=-1), 1_000_000) >= len(names)
        store.delete_subject("expiring", "stays")


def test_deletion_log_with_ids_goes_over_to_hashes(url: str):
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE of_version_7")
    server.dispose()
    older = url.replace("/postgres?", "/of_version_7?")
    engine = create_engine(older)
    with changing_tables(engine) as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", "matchka.store:migrations")
        command.upgrade(config, "7")
        rows = ", ".join(f"('{number:032x}', 't', 's{number % 3}', now())" for number in range(9))
        connection.exec_driver_sql(f"INSERT INTO deletions (template_id, tenant, subject_id, deleted_at) VALUES {rows}")
    with closing(Store(older, hasher=HASHER)), engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT template_id, subject_hash FROM deletions ORDER BY 1").all()
        assert inspect(connection).has_table("subject_terms")
    engine.dispose()
    assert found == [(f"{number:032x}", HASHER.hash_of("t", f"s{number % 3}")) for number in range(9)]


@pytest.fixture
def vaults(cluster: Cluster, tmp_path: Path) -> Iterator[tuple[str, VaultPlan]]:
    """A database for templates and one for keys, both new, and the key."""
    create_key_file(tmp_path / "master.key")
    with fresh_database(cluster) as templates, fresh_database(cluster) as keys:
        yield templates, VaultPlan(MasterKeySource(tmp_path / "master.key"), keys)


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


def test_log_that_several_processes_append_to_at_once_is_one_whole_chain(url: str, tmp_path: Path):
    hasher = SubjectHasher(bytes(range(32)))
    together = Barrier(PROCESSES)
    verified = Event(Outcome.MATCH, "POST /v1/verify", "default", "first", "ada", "voice", "1", 1 / 3)

    def work(seed: int) -> None:
        with closing(Store(url, hasher=hasher, is_audited=True)) as store:
            together.wait(60)
            with writing_audit(store.audit, tmp_path / f"checkpoint-{seed}", 36_500) as writer:
                for number in range(10):
                    store.add_templates("audited", f"s{seed}-{number}", "voice", "1", some(seed * 100 + number))
                    store.delete_subject("audited", f"s{seed}-{number}")
                    writer.submit(verified)
                store.keys.create(KeySpec("one", "audited"))

    with ThreadPoolExecutor(PROCESSES) as pool:
        list(pool.map(work, range(PROCESSES)))
    engine = open_engine(url)
    with reading(engine) as session:
        outcomes = Counter(record.outcome for record, _ in records_in(session))
        checkpoints = [CheckpointFile(tmp_path / f"checkpoint-{n}", hasher).read() for n in range(PROCESSES)]
        reports = [verify_log(session, checkpoint, Prunings(hasher), ignore) for checkpoint in checkpoints]
        thresholds = {record.threshold for record, _ in records_in(session) if record.outcome == "match"}
    engine.dispose()
    assert thresholds == {1 / 3}
    assert [outcomes[name] for name in ("enrolled", "deleted", "match", "created")] == [80, 80, 80, 8]
    assert [report.flaws for report in reports] == [()] * PROCESSES


def test_enrolment_in_the_place_of_an_expired_subject_holds_the_log_for_its_last_step_only(url: str):
    """Others wait for who holds the log's head, and names are locked, and samples judged, before that."""
    other = open_engine(url)
    looks = 0

    def look(_reference: Reference) -> None:
        nonlocal looks
        with other.begin() as connection:
            connection.exec_driver_sql("SELECT sequence FROM audit_head FOR UPDATE NOWAIT")
        looks += 1

    with closing(Store(url, hasher=HASHER, is_audited=True)) as store:
        first = store.add_templates(*OF_ONE, "voice", "1", some(1))
        with other.begin() as connection:
            connection.exec_driver_sql("UPDATE subjects SET expires_at = '2001-01-01'")
        found = store.add_templates(*OF_ONE, "voice", "1", some(2), review=Review(accept=look))
    with reading(other) as session:
        outcomes = [(record.outcome, record.count) for record, _ in records_in(session)]
    other.dispose()
    assert (found.reference.subject_key > first.reference.subject_key, looks) == (True, 1)
    assert outcomes == [("enrolled", 1), ("deleted", 1), ("enrolled", 1)]


def test_log_on_postgresql_that_was_changed_or_cut_is_found(url: str, tmp_path: Path):
    hasher = SubjectHasher(bytes(range(32)))
    with closing(Store(url, hasher=hasher, is_audited=True)) as store:
        with writing_audit(store.audit, tmp_path / "checkpoint", 36_500) as writer:
            for number in range(5):
                writer.submit(Event(Outcome.DONE, f"call {number}"))
        engine = store.audit.engine
        checkpoint = CheckpointFile(tmp_path / "checkpoint", hasher).read()

        def flaws() -> list[str]:
            with reading(engine) as session:
                return [flaw.what for flaw in verify_log(session, checkpoint, Prunings(hasher), ignore).flaws]

        assert flaws() == []
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE audit_log SET call = 'call 9' WHERE call = 'call 2'")
        assert flaws() == ["the record, or its place, is not what was written"]
        with engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM audit_log WHERE call IN ('call 3', 'call 4')")
        assert "the log was cut off" in flaws()[-1]
