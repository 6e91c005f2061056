"""Bringing the tables of an older program version to the present one; one step for each version."""

import logging
from typing import Final

import numpy as np
from sqlalchemy import Connection, Engine, bindparam, inspect, select, text, update

from service.store.digest import LITTLE_ENDIAN_FLOAT32, digests
from service.store.schema import Base, ReferenceRow, SchemaVersion

OLDEST_KNOWN: Final = 1
ROWS_AT_ONCE: Final = 10_000
LOGGER: Final = logging.getLogger("matchka.store")


def upgrade_tables(engine: Engine, found: int) -> int:
    """Bring the tables from the version that was found to the present one, in one transaction.

    Args: found: a version; one that no step starts from is left alone.

    Returns: the version of the tables now.
    """
    if found != OLDEST_KNOWN:
        return found
    LOGGER.info("the database's tables are brought from version 1 to 2: a digest for each reference")
    with engine.begin() as connection:
        _add_digests(connection)
        connection.execute(update(SchemaVersion).values(version=2))
    return 2


def _add_digests(connection: Connection) -> None:
    table = Base.metadata.tables[ReferenceRow.__tablename__]
    if "digest" not in {column["name"] for column in inspect(connection).get_columns(table.name)}:
        connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN digest BIGINT"))
    row = update(ReferenceRow).where(
        ReferenceRow.subject_key == bindparam("key"),
        ReferenceRow.model == bindparam("of_model"),
        ReferenceRow.version == bindparam("of_version"),
    )
    last = -1
    while True:
        # whole subjects at a time: each has a reference for each model and version
        keys = connection.scalars(
            select(ReferenceRow.subject_key)
            .where(ReferenceRow.subject_key > last)
            .distinct()
            .order_by(ReferenceRow.subject_key)
            .limit(ROWS_AT_ONCE)
        ).all()
        if not keys:
            break
        found = connection.execute(
            select(ReferenceRow.subject_key, ReferenceRow.model, ReferenceRow.version, ReferenceRow.embedding).where(
                ReferenceRow.subject_key.between(keys[0], keys[-1])
            )
        ).all()
        values = [
            {"key": key, "of_model": model, "of_version": version, "digest": _digest_of(embedding)}
            for key, model, version, embedding in found
        ]
        connection.execute(row, values)
        last = keys[-1]
    for index in table.indexes:
        index.create(connection, checkfirst=True)


def _digest_of(embedding: bytes) -> int:
    return int(digests(np.frombuffer(embedding, LITTLE_ENDIAN_FLOAT32)[None, :].astype(np.float32))[0])
