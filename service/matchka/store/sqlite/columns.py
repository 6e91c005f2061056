"""Reading many rows by columns that SQLite itself has joined, without a step of Python's for each row.

For each row that the driver hands out it lets go of the interpreter's lock and takes it again, which waits for whoever
computes beside it. A page of rows that is one row of aggregates takes the lock once.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np
from sqlalchemy import ColumnElement, LargeBinary, Select, cast, func, literal_column, select
from sqlalchemy.engine.interfaces import DBAPICursor

from matchka.store.integrity.packed_bytes import PackedBytes
from matchka.store.integrity.stored_embeddings import damaged

LOWEST: Final = -(2**63)  # of SQLite's whole numbers

Column = Sequence[Any]


def joined(query: Select[*tuple[Any, ...]], key: ColumnElement[int], at_once: int) -> Select[*tuple[Any, ...]]:
    """The query of one page: the rows behind :after, some at once, as one row.

    Numbers and texts become JSON, bytes their lengths as JSON and their concatenation: all in one order, that of the
    rows, in which one pass goes through them.

    Args:
        query: of columns that are whole numbers, bytes or texts.
        key: one of them, a whole number that no two rows share.
        at_once: rows of a page.
    """
    rows = query.where(key > literal_column(":after")).order_by(key).limit(at_once).subquery()
    parts: list[ColumnElement[Any]] = [func.max(rows.corresponding_column(key))]  # type: ignore[arg-type]
    for column, kind in zip(rows.columns, kinds_of(query), strict=True):
        if kind is bytes:
            # group_concat() is of texts, and SQLite takes bytes for one as they are, zeros included
            together = cast(func.group_concat(column, literal_column("''")), LargeBinary)
            parts += [func.json_group_array(func.length(column)), together]
        else:
            parts.append(func.json_group_array(column))
    return select(*parts)


def kinds_of(query: Select[*tuple[Any, ...]]) -> list[type]:
    """int, bytes or str of each column."""
    return [column.type.python_type for column in query.selected_columns]


def joined_columns(cursor: DBAPICursor, statement: str, kinds: Sequence[type]) -> Iterator[Sequence[Column]]:
    """Page after page of a query that joined() has made.

    Args:
        cursor: of the database.
        statement: the query.
        kinds: of the columns of its rows.

    Raises: StorageDamagedError: a column of bytes holds something else.
    """
    after = LOWEST
    while True:
        cursor.execute(statement, {"after": after})
        page: Any = cursor.fetchone()
        highest, *parts = page
        if highest is None:
            return
        after = highest
        values = iter(parts)
        yield [
            split_bytes(next(values), json.loads(lengths)) if kind is bytes else json.loads(lengths)
            for kind, lengths in zip(kinds, values, strict=True)
        ]


def split_bytes(together: bytes | None, lengths: Sequence[int | None]) -> Sequence[bytes | None]:
    """Byte strings that were joined; packed where all are of one length.

    Raises: StorageDamagedError: they are not as long together as they should be, so that one is a text, say.

    >>> split_bytes(b"abc", [1, None, 0, 2])
    [b'a', None, b'', b'bc']
    >>> split_bytes(b"abcd", [2, 2]).array.tolist()
    [[97, 98], [99, 100]]
    """
    body = together or b""
    if len(body) != sum(length or 0 for length in lengths):
        raise damaged("bytes of a table that are none")
    if lengths[0] and lengths.count(lengths[0]) == len(lengths):
        return PackedBytes(np.frombuffer(body, np.uint8).reshape(len(lengths), -1))
    places = pairwise(accumulate((length or 0 for length in lengths), initial=0))
    return [None if length is None else body[start:stop] for length, (start, stop) in zip(lengths, places, strict=True)]
