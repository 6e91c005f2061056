"""Digests for the embeddings of a database that an older version of the program made."""

import logging
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, bindparam, inspect, select, text, tuple_, update

from matchka.store.integrity.digest import digest_of
from matchka.store.schema import Base, ReferenceRow, TemplateRow

ROWS_AT_ONCE: Final = 10_000
LOGGER: Final = logging.getLogger("matchka.store")


def add_digests(engine: Engine) -> None:
    """Give every template and reference its digest, in one transaction; columns and indexes that lack are made."""
    LOGGER.info("the database's embeddings get their digests")
    with engine.begin() as connection:
        for row in (TemplateRow, ReferenceRow):
            table = Base.metadata.tables[row.__tablename__]
            if "digest" not in {column["name"] for column in inspect(connection).get_columns(table.name)}:
                connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN digest BIGINT"))
            _fill(connection, table)
            for index in table.indexes:
                index.create(connection, checkfirst=True)


def _fill(connection: Connection, table: Table) -> None:
    key = list(table.primary_key.columns)
    change = update(table).where(*(column == bindparam(f"of_{column.name}") for column in key))
    last: tuple[Any, ...] | None = None
    while True:
        query = select(*key, table.c.embedding).order_by(*key).limit(ROWS_AT_ONCE)
        found = connection.execute(query if last is None else query.where(tuple_(*key) > last)).all()
        if not found:
            return
        values = [
            {f"of_{column.name}": value for column, value in zip(key, row, strict=False)}
            | {"digest": digest_of(row.embedding)}
            for row in found
        ]
        connection.execute(change, values)
        last = tuple(found[-1][: len(key)])
