"""Deletions, the store's identity, and a digest for each embedding.

Programs before Alembic made these tables in several transactions: what such a run that was cut short has left is kept.
"""

import uuid
from typing import Any, Final

import sqlalchemy as sa
from alembic import op

from matchka.store.integrity.digest import digest_of

revision = "2"
down_revision = "1"

ROWS_AT_ONCE: Final = 10_000


def upgrade() -> None:
    """Make what is missing, and give every template and reference its digest."""
    op.create_table(
        "deletions",
        sa.Column("template_id", sa.String(32), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("subject_id", sa.String(256), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False),
        if_not_exists=True,
    )
    op.create_table("store_identity", sa.Column("identity", sa.String(32), primary_key=True), if_not_exists=True)
    identities = sa.table("store_identity", sa.column("identity", sa.String))
    connection = op.get_bind()
    if connection.scalar(sa.select(identities.c.identity)) is None:
        connection.execute(sa.insert(identities).values(identity=uuid.uuid4().hex))
    for name, key in (("templates", ["template_id"]), ("subject_references", ["subject_key", "model", "version"])):
        if "digest" not in {column["name"] for column in sa.inspect(connection).get_columns(name)}:
            op.add_column(name, sa.Column("digest", sa.BigInteger))
        _fill_digests(connection, name, key)
    op.create_index(
        "references_listed", "subject_references", ["model", "version", "subject_key", "digest"], if_not_exists=True
    )


def _fill_digests(connection: sa.Connection, name: str, key_names: list[str]) -> None:
    table = sa.table(name, *map(sa.column, (*key_names, "embedding", "digest")))
    key = [table.c[column] for column in key_names]
    change = sa.update(table).where(*(column == sa.bindparam(f"of_{column.name}") for column in key))
    last: tuple[Any, ...] | None = None
    while True:
        query = sa.select(*key, table.c.embedding).order_by(*key).limit(ROWS_AT_ONCE)
        found = connection.execute(query if last is None else query.where(sa.tuple_(*key) > last)).all()
        if not found:
            return
        values = [
            {f"of_{column.name}": value for column, value in zip(key, row, strict=False)}
            | {"digest": digest_of(row.embedding)}
            for row in found
        ]
        connection.execute(change, values)
        last = tuple(found[-1][: len(key)])
