"""Rows read by COPY are those that a query answers, whatever their lengths; damage among them is named."""

import struct
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
import psycopg
import pytest
from sqlalchemy import BigInteger, LargeBinary, Select, String, column, select, table, text
from sqlalchemy.exc import DBAPIError

from matchka.errors import StorageDamagedError
from matchka.store.database import Limits
from matchka.store.engine import database_of, disposed_on_failure, open_engine
from matchka.store.integrity.packed_bytes import PackedBytes
from matchka.store.postgres.copying import columns_of
from matchka.store.store import Store, opened_store
from tests.factories.databases import ServerUnderTest
from tests.factories.unit_vectors import unit_vectors

THINGS = table("things", column("id", BigInteger), column("body", LargeBinary), column("name", String))
QUERY = select(THINGS.c.id, THINGS.c.body, THINGS.c.name)
ROWS: list[tuple[int, bytes | None, str | None]] = [
    (-5, b"\x00" * 8, "ä"),
    (1, bytes(range(8)), "b"),
    (2, b"12345678", "100 % of 'it' \\ \"quoted\""),
    (3, None, "c"),
    (4, b"123456789", None),
    (5, b"", ""),
    (6, b"1234567", "bc"),  # as long as the second, with its parts at other places
    (2**62, b"\xff" * 8, "d"),
]


@pytest.fixture
def things(postgres_url: str) -> str:
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE things (id bigint, body bytea, name text)")
        connection.cursor().executemany("INSERT INTO things VALUES (%s, %s, %s)", ROWS)
    return postgres_url


def read(url: str, query: Select[*tuple[Any, ...]], at_once: int) -> list[Sequence[Sequence[Any]]]:
    engine = open_engine(url)
    with disposed_on_failure(engine):
        found = list(database_of(engine).columns(engine, query, THINGS.c.id, at_once))
    engine.dispose()
    return found


@pytest.mark.parametrize("at_once", [1, 3, 8, 100])
def test_rows_of_many_lengths_are_all_read_as_they_are(things: str, at_once: int):
    batches = read(things, QUERY, at_once)
    assert [len(batch[0]) for batch in batches] == [min(at_once, 8 - start) for start in range(0, 8, at_once)]
    found = [tuple(row) for batch in batches for row in zip(*batch, strict=True)]
    assert sorted(found) == ROWS
    if at_once == 1:
        assert found == ROWS


def test_rows_of_one_length_are_packed_and_in_the_order_of_their_keys(things: str):
    (batch,) = read(things, QUERY.where(THINGS.c.name.in_(["b", "d"])), 9)
    ids, bodies, names = batch
    assert isinstance(bodies, PackedBytes)
    np.testing.assert_array_equal(ids, [1, 2**62])
    assert (list(bodies), list(names)) == ([bytes(range(8)), b"\xff" * 8], ["b", "d"])


@pytest.mark.parametrize("name", ["100 % of 'it' \\ \"quoted\"", "ä", "%(id)s"])
def test_values_that_a_query_compares_with_reach_the_server_as_they_are(things: str, name: str):
    expected = [row[0] for row in ROWS if row[2] == name]
    found = read(things, select(THINGS.c.id).where(THINGS.c.name == name), 9)
    assert [number for (ids,) in found for number in ids] == expected


def test_no_rows_are_no_batches(things: str):
    assert read(things, QUERY.where(THINGS.c.id == 99), 9) == []


def test_rows_whose_parts_lie_at_other_places_are_taken_apart_one_by_one():
    def row(body: bytes, name: str) -> bytes:
        parts = (struct.pack(">q", 7), body, name.encode())
        return struct.pack(">h", 3) + b"".join(struct.pack(">i", len(part)) + part for part in parts)

    columns = columns_of([row(b"12345678", "b"), row(b"1234567", "bc")], [int, bytes, str])
    assert [list(one) for one in columns] == [[7, 7], [b"12345678", b"1234567"], ["b", "bc"]]


def test_reading_that_is_forgotten_takes_no_connection_with_it(things: str):
    engine = open_engine(things, Limits(pool_size=1, pool_wait_s=1.0))
    readings = [database_of(engine).columns(engine, QUERY, THINGS.c.id, 1) for _ in range(3)]
    assert [list(next(reading)[0]) for reading in readings] == [[-5]] * 3
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    for reading in readings:
        reading.close()  # type: ignore[attr-defined]
    engine.dispose()


def test_reading_that_ends_early_leaves_the_connection_usable(things: str):
    engine = open_engine(things)
    reading = database_of(engine).columns(engine, QUERY, THINGS.c.id, 1)
    assert list(next(reading)[0]) == [-5]
    reading.close()  # type: ignore[attr-defined]
    assert len(list(database_of(engine).columns(engine, QUERY, THINGS.c.id, 1))) == 8
    engine.dispose()


def test_statement_that_the_server_refuses_is_an_error_of_sqlalchemy(postgres_url: str):
    with pytest.raises(DBAPIError) as refused:
        read(postgres_url, QUERY, 9)
    assert isinstance(refused.value.orig, psycopg.errors.UndefinedTable)


VECTORS = unit_vectors(30, 3, dim=4)


@pytest.fixture
def of_three_tenants(postgres_url: str) -> str:
    with closing(Store(postgres_url)) as store:
        for number, vector in enumerate(VECTORS):
            tenant = ("t", "another tenant", "zürich")[number % 3]
            store.add_templates(tenant, f"s{number}", "voice", "1", vector[None])
    return postgres_url


def test_references_of_several_tenants_are_told_apart(of_three_tenants: str):
    found: dict[str, list[np.ndarray]] = {}
    with opened_store(of_three_tenants) as store:
        for batch in store.all_references("voice", "1"):
            found.setdefault(batch.tenant, []).extend(batch.rows())
    for place, tenant in enumerate(("t", "another tenant", "zürich")):
        np.testing.assert_allclose(np.stack(found[tenant]), VECTORS[place::3], atol=1e-7)


@pytest.mark.parametrize(
    "damage",
    [
        "set_byte(embedding, 5, get_byte(embedding, 5) # 1)",
        "substring(embedding FROM 1 FOR 12)",
        "substring(embedding FROM 1 FOR 15)",
        "''::bytea",
    ],
    ids=["flipped bit", "shorter", "no number of components", "empty"],
)
def test_reference_that_is_not_what_was_stored_is_refused_by_its_subject(of_three_tenants: str, damage: str):
    ServerUnderTest(of_three_tenants).change(
        f"UPDATE subject_references SET embedding = {damage} WHERE subject_key = 14"
    )
    with (
        opened_store(of_three_tenants) as store,
        closing(store.all_references("voice", "1")) as batches,
        pytest.raises(StorageDamagedError) as refused,
    ):
        [batch.rows() for batch in batches]
    assert refused.value.value == "the reference of subject number 14"


def test_reference_without_a_digest_among_others_is_read(of_three_tenants: str):
    ServerUnderTest(of_three_tenants).change("UPDATE subject_references SET digest = NULL WHERE subject_key = 14")
    with opened_store(of_three_tenants) as store:
        assert sum(len(batch.rows()) for batch in store.all_references("voice", "1")) == 30
