"""Reading many rows by COPY in its binary form, taken apart by NumPy: a cursor's rows take several times as long.

Source: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import psycopg
from sqlalchemy import Connection, Select
from sqlalchemy.exc import DBAPIError

from matchka.store.integrity.packed_bytes import PackedBytes

SIGNATURE_BYTES: Final = 19  # before the first row: the signature, flags, and the length of an extension, which is none
END: Final = b"\xff\xff"  # in the place of a row's number of columns
NULL: Final = -1  # in the place of a value's length
COUNT: Final = struct.Struct(">h")
LENGTH: Final = struct.Struct(">i")

Column = Sequence[Any]
Same = npt.NDArray[np.uint8]  # rows of one length as bytes, (rows, bytes)


def copied_columns(connection: Connection, query: Select[*tuple[Any, ...]], at_once: int) -> Iterator[Sequence[Column]]:
    """All rows of a query by columns: whole numbers in an array, bytes of one length packed.

    Rows lie in the query's order; those of one batch that differ in length are told apart.

    Args:
        connection: to the server.
        query: of columns that are whole numbers, bytes or texts.
        at_once: rows of a batch.

    Raises: DBAPIError: what the driver raises, as SQLAlchemy hands it on.
    """
    kinds = [column.type.python_type for column in query.selected_columns]
    compiled = query.compile(connection, compile_kwargs={"render_postcompile": True})
    statement = f"COPY ({compiled}) TO STDOUT (FORMAT BINARY)"
    driver: Any = connection.connection.dbapi_connection
    try:
        for rows in _batches(driver, statement, compiled.params, at_once):
            yield columns_of(rows, kinds)
    except psycopg.Error as error:
        raise DBAPIError.instance(
            statement, None, error, psycopg.Error, hide_parameters=True, dialect=connection.dialect
        ) from error


def _batches(
    driver: psycopg.Connection[Any], statement: str, parameters: dict[str, Any], at_once: int
) -> Iterator[list[bytes]]:
    """Rows as they are sent, each whole."""
    with driver.cursor() as cursor, cursor.copy(statement, parameters) as copy:
        rows: list[bytes] = []
        for number, sent in enumerate(copy):
            row = bytes(sent)[0 if number else SIGNATURE_BYTES :]
            if row == END:
                continue
            rows.append(row)
            if len(rows) == at_once:
                yield rows
                rows = []
        if rows:
            yield rows


def columns_of(rows: Sequence[bytes], kinds: Sequence[type]) -> list[Column]:
    """The columns of rows.

    Args:
        rows: at least one, as they were sent.
        kinds: int, bytes or str of each column.

    >>> row = bytes.fromhex("0002 00000004 00000007 00000002 6869")
    >>> numbers, names = columns_of([row, row], [int, bytes])
    >>> numbers.tolist(), list(names)
    ([7, 7], [b'hi', b'hi'])
    >>> columns_of([row, row[:10] + bytes.fromhex("ffffffff")], [int, str])
    [array([7, 7]), ['hi', None]]
    """
    by_length: dict[int, list[bytes]] = {}
    for row in rows:
        by_length.setdefault(len(row), []).append(row)
    parts = [part for same in by_length.values() for part in _parts_of(same, kinds)]
    return [_joined([part[place] for part in parts]) for place in range(len(kinds))]


def _parts_of(rows: Sequence[bytes], kinds: Sequence[type]) -> Iterator[list[Column]]:
    """The columns of rows of one length: together where their values lie at the same places, else of each."""
    together = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
    lengths, heads = _layout(rows[0])
    if len(rows) > 1 and np.any(together[:, heads] != together[0, heads]):
        for row in rows:
            yield from _parts_of([row], kinds)
        return
    ends = np.cumsum([COUNT.size, *(LENGTH.size + max(length, 0) for length in lengths)])[1:].tolist()
    yield [
        [None] * len(rows) if length == NULL else _column(kind, together[:, end - length : end])
        for kind, length, end in zip(kinds, lengths, ends, strict=True)
    ]


def _layout(row: bytes) -> tuple[list[int], list[int]]:
    """The length of each value of a row, and the places of the bytes that say them."""
    (count,) = COUNT.unpack_from(row)
    lengths: list[int] = []
    heads = list(range(COUNT.size))
    place = COUNT.size
    for _ in range(count):
        lengths += LENGTH.unpack_from(row, place)
        heads += range(place, place + LENGTH.size)
        place += LENGTH.size + max(lengths[-1], 0)
    return lengths, heads


def _column(kind: type, values: Same) -> Column:
    packed = PackedBytes(np.ascontiguousarray(values))
    if kind is int:
        numbers: Any = packed.array.view(f">i{values.shape[1]}")[:, 0].astype(np.int64)
        return numbers  # type: ignore[no-any-return]
    return packed if kind is bytes else [text.decode() for text in packed]


def _joined(parts: Sequence[Column]) -> Column:
    """One column of several parts, in the same form where all of them have it."""
    if len(parts) == 1:
        return parts[0]
    numbers = [part for part in parts if isinstance(part, np.ndarray)]
    if len(numbers) == len(parts):
        return np.concatenate(numbers)  # type: ignore[return-value]
    arrays = [part.array for part in parts if isinstance(part, PackedBytes)]
    if len(arrays) == len(parts) and len({array.shape[1] for array in arrays}) == 1:
        return PackedBytes(np.concatenate(arrays))
    return list(chain.from_iterable(parts))
