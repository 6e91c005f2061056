"""The system of record on real databases: nothing is lost, nothing is half done, nothing deleted stays."""

import itertools
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, event, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from matchka.errors import (
    DuplicateSampleError,
    NotEnrolledError,
    OtherVersionError,
    StoreError,
    UnknownSubjectError,
    UnknownTemplateError,
    ZeroVectorError,
)
from matchka.store.engine import open_engine
from matchka.store.key_store.key_store import KeyStore
from matchka.store.records import Enrolment
from matchka.store.store import Store, opened_store
from tests.factories.databases import UnderTest, row_counts
from tests.factories.unit_vectors import unit_vectors

DIM = 6
units = partial(unit_vectors, dim=DIM)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def store(database: UnderTest) -> Iterator[Store]:
    with opened_store(database.url) as opened:
        yield opened


def slow_mean(rows: np.ndarray) -> list[float]:
    return [
        sum(float(row[c]) / float(np.sqrt(np.sum(row.astype(float) ** 2))) for row in rows) / len(rows)
        for c in range(DIM)
    ]


def enrol(
    store: Store, subject: str, rows: np.ndarray, model: str = "voice", version: str = "1", tenant: str = "t"
) -> Enrolment:
    return store.add_templates(tenant, subject, model, version, rows)


def test_add_templates_stores_the_mean_of_unit_templates_as_reference(store: Store):
    rows = units(3)
    enrolment = enrol(store, "ada", rows)
    found = store.reference("t", "ada", "voice", "1")
    assert len(set(enrolment.template_ids)) == 3
    assert (found.subject_id, found.template_count) == ("ada", 3)
    np.testing.assert_allclose(found.embedding, slow_mean(rows), atol=1e-7)
    np.testing.assert_array_equal(found.embedding, enrolment.reference.embedding)


def test_tenants_are_those_with_subjects_each_once(store: Store):
    assert store.tenants() == []
    for number, tenant in enumerate(["b", "a.c", "b", "Z", "a", "b"]):
        enrol(store, f"s{number}", units(1, number), tenant=tenant)
    assert sorted(store.tenants()) == ["Z", "a", "a.c", "b"]
    assert len(store.tenants()) == 4


def test_add_templates_of_a_known_subject_averages_old_and_new_alike(store: Store):
    rows = units(5)
    first = enrol(store, "ada", rows[:1])
    second = enrol(store, "ada", rows[1:])
    assert second.reference.subject_key == first.reference.subject_key
    assert second.reference.template_count == 5
    np.testing.assert_allclose(store.reference("t", "ada", "voice", "1").embedding, slow_mean(rows), atol=1e-7)


def test_add_templates_that_fail_leave_nothing_behind(store: Store, database: UnderTest):
    bad = units(3)
    bad[2] = 0.0
    with pytest.raises(ZeroVectorError):
        enrol(store, "ada", bad)
    assert row_counts(database) == (0, 0, 0)
    enrol(store, "bob", units(2))
    before = store.reference("t", "bob", "voice", "1")
    with pytest.raises(ZeroVectorError):
        enrol(store, "bob", bad)
    assert row_counts(database) == (1, 2, 1)
    np.testing.assert_array_equal(store.reference("t", "bob", "voice", "1").embedding, before.embedding)


def test_store_after_closing_and_opening_again_holds_the_same(database: UnderTest):
    with opened_store(database.url) as store:
        enrol(store, "ada", units(3))
        enrol(store, "bob", units(1, 5), "face")
        before = store.reference("t", "ada", "voice", "1"), store.subject("t", "bob"), store.subjects("t", 9, None)
    with opened_store(database.url) as store:
        after = store.reference("t", "ada", "voice", "1"), store.subject("t", "bob"), store.subjects("t", 9, None)
    np.testing.assert_array_equal(before[0].embedding, after[0].embedding)
    assert before[1:] == after[1:]


def test_all_references_are_those_of_one_model_and_version_by_tenant(store: Store):
    expected: dict[tuple[str, int], list[float]] = {}
    for number in range(30):
        tenant, subject, rows = "ab"[number % 2], f"s{number}", units(1 + number % 4, number)
        key = enrol(store, subject, rows, tenant=tenant).reference.subject_key
        expected[tenant, key] = slow_mean(rows)
        enrol(store, subject, units(1, 99), "face", tenant=tenant)
        enrol(store, subject, units(1, 98), "voice", "2", tenant=tenant)
    found = {
        (tenant, key): row
        for batch in store.all_references("voice", "1")
        for tenant, key, row in zip([batch.tenant] * len(batch.keys), batch.keys.tolist(), batch.rows(), strict=True)
    }
    assert found.keys() == expected.keys()
    for place, row in found.items():
        np.testing.assert_allclose(row, expected[place], atol=1e-7)


@pytest.mark.parametrize("tenants", ["a", "ab"])
def test_all_references_larger_than_one_batch_are_all_there(
    store: Store, monkeypatch: pytest.MonkeyPatch, tenants: str
):
    monkeypatch.setattr("matchka.store.references.ROWS_AT_ONCE", 4)
    keys = {
        enrol(store, f"s{n}", units(1, n), tenant=tenants[n % len(tenants)]).reference.subject_key: n for n in range(11)
    }
    batches = list(store.all_references("voice", "1"))
    assert len(batches) == 3 * len(tenants)  # of four rows, each tenant's own
    for batch in batches:
        assert {tenants[keys[key] % len(tenants)] for key in batch.keys.tolist()} == {batch.tenant}
        expected = np.concatenate([units(1, keys[key]) for key in batch.keys.tolist()])
        np.testing.assert_allclose(batch.rows(), expected, atol=1e-7)
    assert sorted(key for batch in batches for key in batch.keys.tolist()) == sorted(keys)


def test_all_references_of_a_store_that_holds_none_are_none(store: Store):
    assert list(store.all_references("voice", "1")) == []
    enrol(store, "ada", units(1), model="face")
    assert list(store.all_references("voice", "1")) == []


def test_references_of_keys_leave_out_the_gone_the_foreign_and_the_other_version(store: Store):
    ada = enrol(store, "ada", units(2)).reference.subject_key
    gone = enrol(store, "gone", units(1)).reference.subject_key
    foreign = enrol(store, "ada", units(1), tenant="other").reference.subject_key
    newer = enrol(store, "newer", units(1), version="2").reference.subject_key
    store.delete_subject("t", "gone")
    found = store.references_of_keys("t", [ada, gone, foreign, newer, 10**6], "voice", "1")
    assert {key: (s.subject_id, s.template_count) for key, s in found.items()} == {ada: ("ada", 2)}
    assert store.references_of_keys("t", [], "voice", "1") == {}


def test_reference_of_a_subject_nobody_enrolled_is_unknown(store: Store):
    enrol(store, "ada", units(1), tenant="other")
    with pytest.raises(UnknownSubjectError) as refused:
        store.reference("t", "ada", "voice", "1")
    assert refused.value.value == "ada"


def test_reference_of_another_model_is_not_enrolled_and_of_another_version_says_which(store: Store):
    enrol(store, "ada", units(1))
    with pytest.raises(NotEnrolledError, match="face"):
        store.reference("t", "ada", "face", "1")
    with pytest.raises(OtherVersionError, match="version 1 of model voice; 2 is served"):
        store.reference("t", "ada", "voice", "2")


def test_reference_of_a_subject_that_is_enrolled_meanwhile_is_found(store: Store):
    looks, here = itertools.count(), threading.get_ident()

    def enrol_meanwhile(*_: object) -> None:
        if threading.get_ident() == here and next(looks) == 0:  # the log's thread looks too
            enrol(store, "ada", units(1))

    event.listen(Engine, "after_cursor_execute", enrol_meanwhile)
    found = store.reference("t", "ada", "voice", "1")
    event.remove(Engine, "after_cursor_execute", enrol_meanwhile)
    np.testing.assert_allclose(found.embedding, units(1)[0], atol=1e-6)


def test_references_of_two_versions_are_means_of_their_own_templates_only(store: Store):
    old, new = units(3, 1), units(2, 2)
    enrol(store, "ada", old[:2], version="1")
    enrol(store, "ada", new, version="2")
    enrol(store, "ada", old[2:], version="1")
    for version, rows in (("1", old), ("2", new)):
        found = store.reference("t", "ada", "voice", version)
        assert found.template_count == len(rows)
        np.testing.assert_allclose(found.embedding, slow_mean(rows), atol=1e-7)


def test_subject_lists_its_templates_of_every_model_oldest_first(store: Store):
    ids = [
        *enrol(store, "ada", units(1)).template_ids,
        *enrol(store, "ada", units(1), "face", "7").template_ids,
        *enrol(store, "ada", units(1), "voice", "2").template_ids,
    ]
    found = store.subject("t", "ada")
    assert [t.template_id for t in found.templates] == ids
    assert [(t.model, t.version) for t in found.templates] == [("voice", "1"), ("face", "7"), ("voice", "2")]
    times = [found.created_at, *(t.created_at for t in found.templates)]
    assert times == sorted(times)
    with pytest.raises(UnknownSubjectError):
        store.subject("t", "bob")


def test_subjects_page_by_page_are_all_of_the_tenant_in_order(store: Store):
    names = ["a", "B", "ä", "a.b", "a:1", "z", "Z", "10", "9", "é", "@", "中"]
    for number, name in enumerate(names):
        enrol(store, name, units(1 + number % 3, number))
    enrol(store, "foreign", units(1), tenant="other")
    found, after = [], None
    while page := store.subjects("t", 5, after):
        found += page
        after = page[-1].subject_id
    assert [s.subject_id for s in found] == sorted(names, key=lambda name: name.encode())
    assert {s.subject_id: s.template_count for s in found} == {name: 1 + n % 3 for n, name in enumerate(names)}


def test_delete_subject_leaves_no_row_of_any_model_and_no_other_touched(store: Store, database: UnderTest):
    enrol(store, "ada", units(3))
    enrol(store, "ada", units(2), "face")
    enrol(store, "ada", units(1), tenant="other")
    key = enrol(store, "ada", units(1, 7)).reference.subject_key
    assert store.delete_subject("t", "ada").subject_key == key
    assert row_counts(database) == (1, 1, 1)
    with pytest.raises(UnknownSubjectError):
        store.delete_subject("t", "ada")
    assert store.subject("other", "ada").templates


def test_delete_subject_never_gives_its_key_to_another(store: Store):
    key = enrol(store, "ada", units(1)).reference.subject_key
    store.delete_subject("t", "ada")
    assert enrol(store, "bob", units(1)).reference.subject_key > key
    store.delete_subject("t", "bob")
    assert enrol(store, "ada", units(1)).reference.subject_key > key + 1


def test_delete_template_leaves_exactly_the_mean_of_the_others(store: Store, database: UnderTest):
    rows = units(4)
    ids = [enrol(store, "ada", row[None]).template_ids[0] for row in rows]
    removal = store.delete_template("t", ids[1])
    expected = slow_mean(rows[[0, 2, 3]])
    assert removal.reference is not None
    assert (removal.model, removal.version, removal.reference.template_count) == ("voice", "1", 3)
    np.testing.assert_allclose(removal.reference.embedding, expected, atol=1e-7)
    np.testing.assert_allclose(store.reference("t", "ada", "voice", "1").embedding, expected, atol=1e-7)
    assert row_counts(database) == (1, 3, 1)
    # what is left is what enrolling the rest alone would have stored
    fresh = enrol(store, "fresh", rows[[0, 2, 3]])
    np.testing.assert_allclose(removal.reference.embedding, fresh.reference.embedding, atol=1e-7)


def test_delete_template_that_is_the_last_of_a_model_removes_only_that_reference(store: Store, database: UnderTest):
    only = enrol(store, "ada", units(1)).template_ids[0]
    enrol(store, "ada", units(2), "face")
    assert store.delete_template("t", only).reference is None
    assert row_counts(database) == (1, 2, 1)
    with pytest.raises(NotEnrolledError):
        store.reference("t", "ada", "voice", "1")


def test_delete_template_that_is_the_very_last_removes_the_subject(store: Store, database: UnderTest):
    (only,) = enrol(store, "ada", units(1)).template_ids
    assert store.delete_template("t", only).reference is None
    assert row_counts(database) == (0, 0, 0)
    with pytest.raises(UnknownTemplateError):
        store.delete_template("t", only)


def test_delete_template_of_another_tenant_is_unknown_and_stays(store: Store, database: UnderTest):
    (foreign,) = enrol(store, "ada", units(1), tenant="other").template_ids
    with pytest.raises(UnknownTemplateError) as refused:
        store.delete_template("t", foreign)
    assert refused.value.value == foreign
    assert row_counts(database) == (1, 1, 1)


def test_deleted_embedding_is_nowhere_in_the_closed_database(path: Path):
    rows = units(2)
    with opened_store(f"sqlite:///{path}") as store:
        enrol(store, "kept", rows[:1])
        enrol(store, "deleted", rows[1:])
        store.delete_subject("t", "deleted")
    content = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert rows[0].tobytes() in content
    assert rows[1].tobytes() not in content


def test_store_read_from_threads_while_one_writes_sees_whole_enrolments_only(store: Store):
    rows = units(40)
    enrol(store, "ada", rows[:2])
    wrong: list[object] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            found = store.reference("t", "ada", "voice", "1")
            expected = slow_mean(rows[: found.template_count])
            if found.template_count % 2 or not np.allclose(found.embedding, expected, atol=1e-6):
                wrong.append(found)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for start in range(2, 40, 2):
        enrol(store, "ada", rows[start : start + 2])
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert store.reference("t", "ada", "voice", "1").template_count == 40


def test_store_of_another_schema_is_refused(database: UnderTest):
    with opened_store(database.url):
        pass
    database.change("UPDATE schema_version SET version = 99")
    with pytest.raises(StoreError, match="version 99") as refused:
        Store(database.url)
    assert "data folder" in refused.value.remedy


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE invoices (number integer)"],
        ["CREATE TABLE schema_version (version integer, installed_by text)"],
        ["CREATE TABLE schema_version (version integer)", "INSERT INTO schema_version VALUES (7)"],
        ["CREATE TABLE subjects (key integer)", "CREATE TABLE lessons (key integer)"],
    ],
    ids=["other tables", "its own versions", "the same number of a version", "one of the same name"],
)
def test_database_of_another_application_is_refused_and_left_as_it_is(database: UnderTest, statements: list[str]):
    open_engine(database.url).dispose()  # a file begins with its first page
    for statement in statements:
        database.change(statement)
    engine = open_engine(database.url)
    before = sorted(inspect(engine).get_table_names())
    with pytest.raises(StoreError, match="another application"):
        Store(database.url)
    with pytest.raises(StoreError, match="another application"):
        KeyStore(database.url)
    assert sorted(inspect(engine).get_table_names()) == before
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    ["nonsense", "sqlite:////nowhere/at/all.sqlite", "nosuchdialect://host/db"],
    ids=["no URL", "no folder", "driver"],
)
def test_store_at_a_url_that_cannot_be_opened_is_refused(url: str):
    with pytest.raises(StoreError, match="database"):
        Store(url)


def test_store_in_a_file_that_is_no_database_is_refused(path: Path):
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(f"sqlite:///{path}")


@pytest.mark.parametrize("template_id", ["", "a\0b", "\ud800", "0" * 31 + "\n", "0" * 32 + "\n", "A" * 32, "x" * 10**6])
def test_delete_template_of_no_templates_form_is_refused_before_the_database_is_asked(store: Store, template_id: str):
    statements: list[str] = []
    listener = lambda *call: statements.append(call[2])  # noqa: E731
    event.listen(Engine, "before_cursor_execute", listener)
    try:
        with pytest.raises(UnknownTemplateError):
            store.delete_template("t", template_id)
    finally:
        event.remove(Engine, "before_cursor_execute", listener)
    assert statements == []


def test_add_templates_of_one_sample_from_many_threads_stores_it_once(store: Store, database: UnderTest):
    """Without the lock of the service: writers that begin at once must see what the first of them committed."""
    row, together, refused = units(1), threading.Barrier(8), []

    def work() -> None:
        together.wait()
        try:
            enrol(store, "ada", row)
        except DuplicateSampleError as error:
            refused.append(error)

    enrol(store, "ada", units(1, 1))
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    assert row_counts(database) == (1, 2, 1)


def test_add_templates_of_one_sample_with_another_model_or_version_stores_it(store: Store, database: UnderTest):
    enrol(store, "ada", units(1))
    enrol(store, "ada", units(1), model="face")
    enrol(store, "ada", units(1), version="2")
    assert row_counts(database) == (1, 3, 3)


def test_error_of_the_database_as_it_is_logged_has_no_values(store: Store):
    with pytest.raises(SQLAlchemyError) as failed, store.engines[0].connect() as connection:
        connection.execute(text("SELECT key FROM no_such_table WHERE subject_id = :name"), {"name": "some-subject"})
    assert "no_such_table" in str(failed.value)
    assert "some-subject" not in str(failed.value)
