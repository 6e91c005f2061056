"""Rows that SQLite joins are those that a query answers, whatever their values; the connection is given back."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import BigInteger, LargeBinary, Select, String, column, select, table, text
from sqlalchemy.exc import DBAPIError

from matchka.errors import StorageDamagedError
from matchka.store.engine import database_of, disposed_on_failure, open_engine
from matchka.store.integrity.packed_bytes import PackedBytes

THINGS = table("things", column("id", BigInteger), column("body", LargeBinary), column("name", String))
QUERY = select(THINGS.c.id, THINGS.c.body, THINGS.c.name)
ROWS: list[tuple[int, bytes | None, str | None]] = [
    (-(2**63) + 1, b"\x00" * 8, "ä"),
    (-5, b"\xff\xfe\x00\x80" * 2, "b"),
    (1, bytes(range(8)), "100 % of 'it' \\ \"quoted\", [1, null]"),
    (2, b"12345678", ""),
    (3, None, "c"),
    (4, b"123456789", None),
    (5, b"", "\x01\n"),
    (2**63 - 1, b"\xc3\x28\x00", "d"),  # neither text nor without zeros
]


@pytest.fixture
def things(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'things.sqlite'}"
    with opened_file(url) as connection, connection:
        connection.execute("CREATE TABLE things (id INTEGER, body BLOB, name TEXT)")
        connection.executemany("INSERT INTO things VALUES (?, ?, ?)", ROWS[::-1])
    return url


def opened_file(url: str) -> "closing[sqlite3.Connection]":
    return closing(sqlite3.connect(url.removeprefix("sqlite:///")))


def read(url: str, query: Select[*tuple[Any, ...]], at_once: int) -> list[Sequence[Sequence[Any]]]:
    engine = open_engine(url)
    with disposed_on_failure(engine):
        found = list(database_of(engine).columns(engine, query, THINGS.c.id, at_once))
    engine.dispose()
    return found


@pytest.mark.parametrize("at_once", [1, 3, 8, 100])
def test_rows_of_any_values_are_read_as_they_are_in_the_order_of_their_keys(things: str, at_once: int):
    pages = read(things, QUERY, at_once)
    assert [len(page[0]) for page in pages] == [min(at_once, 8 - start) for start in range(0, 8, at_once)]
    assert [tuple(row) for page in pages for row in zip(*page, strict=True)] == ROWS


def test_bytes_of_one_length_are_packed(things: str):
    ((ids, bodies, _),) = read(things, QUERY.where(THINGS.c.id.in_([-5, 1, 2])), 9)
    assert isinstance(bodies, PackedBytes)
    assert (list(ids), list(bodies)) == ([-5, 1, 2], [row[1] for row in ROWS[1:4]])


def test_many_random_bytes_in_pages_are_those_that_were_written(things: str):
    rng = np.random.default_rng(5)
    written = {key: rng.bytes(64) for key in rng.permutation(1_000).tolist()}
    with opened_file(things) as connection, connection:
        connection.execute("DELETE FROM things")
        connection.executemany("INSERT INTO things VALUES (?, ?, 'x')", written.items())
    pages = read(things, QUERY, 64)
    assert [key for page in pages for key in page[0]] == list(range(1_000))
    assert {key: body for page in pages for key, body in zip(page[0], page[1], strict=True)} == written


@pytest.mark.parametrize("given", ["ä", "1", "12\x00"])
def test_text_among_bytes_is_never_taken_for_other_bytes(things: str, given: str):
    with opened_file(things) as connection, connection:
        connection.execute("UPDATE things SET body = ? WHERE id = 2", [given])
    try:
        ((_, bodies, _),) = read(things, QUERY, 9)
    except StorageDamagedError:
        return
    assert list(bodies) == [given.encode() if row[0] == 2 else row[1] for row in ROWS]


def test_values_that_a_query_compares_with_are_taken_as_they_are(things: str):
    for key, _, name in ROWS:
        if name is not None:
            assert [page[0] for page in read(things, select(THINGS.c.id).where(THINGS.c.name == name), 9)] == [[key]]


def test_no_rows_are_no_pages(things: str):
    assert read(things, QUERY.where(THINGS.c.id == 99), 9) == []


def test_reading_that_ends_early_leaves_the_connection_usable(things: str):
    engine = open_engine(things)
    reading = database_of(engine).columns(engine, QUERY, THINGS.c.id, 1)
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM things")) == 8
    engine.dispose()


def test_statement_that_cannot_be_done_is_an_error_of_sqlalchemy(tmp_path: Path):
    with pytest.raises(DBAPIError) as refused:
        read(f"sqlite:///{tmp_path / 'empty.sqlite'}", QUERY, 9)
    assert isinstance(refused.value.orig, sqlite3.OperationalError)
