"""Requests that are sent again, on both kinds of database: done once, answered as they were, never undone deletions."""

import hashlib
import hmac
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from matchka.errors import (
    DuplicateSampleError,
    EnrolmentUndoneError,
    IdempotencyKeyReusedError,
    StorageFailedError,
    StoreError,
    ZeroVectorError,
)
from matchka.store.database import Limits
from matchka.store.database_errors import as_matchka_error
from matchka.store.idempotency.answers import EnrolmentRepeated, OnceRecording
from matchka.store.idempotency.requests import NamedRequest, named_request
from matchka.store.records import Enrolment
from matchka.store.sqlite.backup import write_backup
from matchka.store.sqlite.restore import RestorePlan, restore
from matchka.store.store import Store, opened_store
from matchka.store.subject_hash import SubjectHasher
from matchka.store.vault.encryption import encrypt_store
from tests.factories.databases import ServerUnderTest, UnderTest, row_counts
from tests.factories.unit_vectors import unit_vectors
from tests.factories.vaults import VaultFolder, vault_folder

HASHER = SubjectHasher(bytes(range(32)))
CALLERS = 50
DAY = timedelta(days=1)
TENANT = "t"
units = partial(unit_vectors, dim=6)
opened = partial(opened_store, hasher=HASHER)


@pytest.fixture
def store(database: UnderTest) -> Iterator[Store]:
    with opened(database.url) as made:
        yield made


def request(content: bytes = b"ada", key: str = "k", key_id: str | None = "first") -> NamedRequest:
    return named_request(HASHER, TENANT, key_id, key, content)


def described(enrolment: Enrolment) -> bytes:
    return " ".join(enrolment.template_ids).encode()


def enrol(store: Store, asked: NamedRequest, subject: str = "ada", rows: int = 2) -> str:
    """The ids of the templates, of this enrolment or of the one that it repeats."""
    try:
        recording = OnceRecording(asked, described)
        done = store.add_templates(TENANT, subject, "voice", "1", units(rows), recording=recording)
    except EnrolmentRepeated as repeated:
        return repeated.answer.decode()
    return described(done).decode()


def kept(database: UnderTest) -> tuple[int, int]:
    ((keys, answers),) = database.rows(
        "SELECT (SELECT count(*) FROM idempotency_keys), (SELECT count(*) FROM enrolment_answers)"
    )
    return int(str(keys)), int(str(answers))


def test_request_sent_again_stores_nothing_and_is_given_the_first_answer(store: Store, database: UnderTest):
    first = enrol(store, request())
    assert [enrol(store, request()) for _ in range(3)] == [first] * 3
    assert row_counts(database) == (1, 2, 1)
    with pytest.raises(EnrolmentRepeated) as repeated:
        store.answers.require_new(request())
    assert repeated.value.answer.decode() == first


def test_requests_sent_at_once_through_two_stores_are_done_once(database: UnderTest):
    with ExitStack() as stack:
        stores = [stack.enter_context(opened(database.url)) for _ in range(2)]
        together = threading.Barrier(CALLERS, timeout=60)
        turns = itertools.cycle(stores)

        def ask(store: Store) -> str:
            together.wait()
            return enrol(store, request())

        with ThreadPoolExecutor(CALLERS) as pool:
            found = list(pool.map(ask, [next(turns) for _ in range(CALLERS)]))
    assert len(set(found)) == 1
    assert row_counts(database) == (1, 2, 1)
    assert kept(database) == (1, 1)


def test_key_with_another_content_is_refused_and_stores_nothing(store: Store, database: UnderTest):
    enrol(store, request())
    with pytest.raises(IdempotencyKeyReusedError):
        enrol(store, request(b"ben"), "ben")
    with pytest.raises(IdempotencyKeyReusedError):
        store.answers.require_new(request(b"ben"))
    assert row_counts(database) == (1, 2, 1)


def test_same_key_of_another_api_key_is_another_request(store: Store, database: UnderTest):
    enrol(store, request())
    store.answers.require_new(request(key_id="second"))
    store.answers.require_new(request(key_id=None))
    other = named_request(HASHER, "other tenant", "first", "k", b"ada")
    store.answers.require_new(other)
    assert enrol(store, request(key_id="second"), "ben") != enrol(store, request())
    assert row_counts(database)[0] == 2


def test_request_that_failed_leaves_its_key_free(store: Store, database: UnderTest):
    bad = units(1)
    bad[0] = 0.0
    recording = OnceRecording(request(), described)
    with pytest.raises(ZeroVectorError):
        store.add_templates(TENANT, "ada", "voice", "1", bad, recording=recording)
    assert kept(database) == (0, 0)
    enrol(store, request())
    assert kept(database) == (1, 1)


@pytest.mark.parametrize("how", ["deleted", "expired", "last template"])
def test_request_sent_again_after_its_subject_is_gone_does_not_enrol_it_anew(
    store: Store, database: UnderTest, how: str
):
    first = enrol(store, request(), rows=1)
    {
        "deleted": lambda: store.delete_subject(TENANT, "ada"),
        "expired": lambda: database.change("UPDATE subjects SET expires_at = '2001-01-01 00:00:00.000000'"),
        "last template": lambda: store.delete_template(TENANT, first),
    }[how]()
    for ask in (partial(enrol, store, request()), partial(store.answers.require_new, request())):
        with pytest.raises(EnrolmentUndoneError):
            ask()
    if how != "expired":
        assert kept(database) == (1, 0)
        assert row_counts(database) == (0, 0, 0)
    enrol(store, request(key="another"), rows=1)
    assert row_counts(database) == (1, 1, 1)


def test_answer_of_an_enrolment_stays_when_the_subject_changes(store: Store):
    first = enrol(store, request())
    store.add_templates(TENANT, "ada", "voice", "1", units(5)[2:])
    store.delete_template(TENANT, first.split()[0])
    assert enrol(store, request()) == first


def test_request_that_waits_too_long_for_the_first_one_is_told_so_and_stores_nothing(postgres_url: str):
    """The first one is at work in another process, which holds the row of the key until its transaction ends."""
    database = ServerUnderTest(postgres_url)
    with opened(postgres_url, limits=Limits(statement_s=0.5)) as store:
        engine = create_engine(postgres_url)
        with engine.connect() as other:
            other.execute(
                text("INSERT INTO idempotency_keys VALUES (:name, :content, now())"),
                {"name": request().name, "content": request().content},
            )
            with pytest.raises(DBAPIError) as failed:
                enrol(store, request())
            assert isinstance(as_matchka_error(failed.value), StorageFailedError)
            other.rollback()
        engine.dispose()
        assert row_counts(database) == (0, 0, 0)
        enrol(store, request())
        assert row_counts(database) == (1, 2, 1)


def test_old_keys_are_forgotten_a_bounded_number_at_a_time(store: Store, database: UnderTest):
    for number in range(3):
        enrol(store, request(key=str(number)), f"s{number}")
    assert store.answers.forget_old(DAY, 10) == 0
    database.change("UPDATE idempotency_keys SET created_at = '2001-01-01 00:00:00.000000'")
    enrol(store, request(key="new"), "new")
    assert store.answers.forget_old(DAY, 2) == 2
    assert store.answers.forget_old(DAY, 2) == 1
    assert kept(database) == (1, 1)
    assert row_counts(database)[0] == 4


def test_store_without_the_key_of_its_digests_names_no_request(database: UnderTest):
    with opened_store(database.url) as store, pytest.raises(StoreError):
        store.answers.named(TENANT, "first", "k", b"")


def test_digests_are_those_of_an_independent_computation():
    def keyed(purpose: str, message: bytes) -> bytes:
        derived = hmac.new(bytes(range(32)), b"matchka-" + purpose.encode(), hashlib.sha256).digest()
        return hmac.new(derived, message, hashlib.sha256).digest()

    found = named_request(HASHER, "te", "first", "é", b"all of it")
    assert found.name == keyed("idempotency-key-1", b"\0\2te\0\5first\0\2\xc3\xa9")
    assert found.content == keyed("idempotent-request-1", b"all of it")


def bytes_of(folder: VaultFolder) -> bytes:
    return b"".join(path.read_bytes() for path in folder.database.parent.iterdir() if path.is_file())


def test_answers_are_encrypted_with_their_subjects_keys_also_those_from_before(tmp_path: Path):
    secret = b"what was answered"

    def recording(key: str) -> OnceRecording:
        return OnceRecording(request(key=key), lambda _enrolment: secret)

    folder = vault_folder(tmp_path)
    with opened(folder.url) as clear:
        clear.add_templates(TENANT, "ada", "voice", "1", units(1), recording=recording("k"))
    assert secret in bytes_of(folder)
    with folder.opened() as (_, vault), opened(folder.url, vault) as store:
        encrypt_store(store.engines[0], vault, lambda _done, _total: None)
        store.add_templates(TENANT, "ben", "voice", "1", units(2)[1:], recording=recording("another"))
        for key in ("k", "another"):
            with pytest.raises(EnrolmentRepeated) as repeated:
                store.answers.require_new(request(key=key))
            assert repeated.value.answer == secret
    assert secret not in bytes_of(folder)
    assert b"matchka-enrolment" not in bytes_of(folder)


def test_answer_whose_key_is_destroyed_is_that_of_a_deleted_subject(tmp_path: Path):
    """As in a copy of the database from before a deletion."""
    folder = vault_folder(tmp_path)
    with folder.opened() as (_, vault), opened(folder.url, vault) as store:
        enrol(store, request())
        ((key_id,),) = folder.templates.rows("SELECT key_id FROM subjects")
        assert isinstance(key_id, bytes)
        vault.destroy([key_id])
        with pytest.raises(EnrolmentUndoneError):
            store.answers.require_new(request())


def test_backup_has_no_answers_and_a_restored_store_knows_no_key(tmp_path: Path):
    path, secret = tmp_path / "data" / "matchka.sqlite", b"what was answered"
    path.parent.mkdir()
    with opened(f"sqlite:///{path}") as store:
        recording = OnceRecording(request(), lambda _enrolment: secret)
        store.add_templates(TENANT, "ada", "voice", "1", units(2), recording=recording)
    write_backup(path, tmp_path / "a.backup", ignore)
    target = tmp_path / "new" / "matchka.sqlite"
    target.parent.mkdir()
    restore(RestorePlan(tmp_path / "a.backup", target), ignore, ignore)
    assert secret in path.read_bytes()
    assert secret not in target.read_bytes()
    with opened(f"sqlite:///{target}") as store:
        store.answers.require_new(request())
        with pytest.raises(DuplicateSampleError):
            enrol(store, request())


def ignore(_done: int, _total: int) -> None:
    """Nobody watches."""
