"""What Alembic runs: the revisions that are missing, on the connection and in the transaction of `migrate.upgrade`."""

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo

from matchka.store.schema import Base, RevisionRow


def note_version(  # Alembic names all four
    ctx: MigrationContext,
    step: MigrationInfo,
    heads: Collection[Any],  # noqa: ARG001
    run_args: Mapping[str, Any],  # noqa: ARG001
) -> None:
    """Write a revision's number into the program's own table: older programs read only that, and refuse a newer one."""
    table = sa.table("schema_version", sa.column("version"))
    if ctx.connection is None or step.up_revision_id is None:
        raise TypeError("Revisions run on a database, not into a script.")
    ctx.connection.execute(sa.delete(table))
    ctx.connection.execute(sa.insert(table).values(version=int(step.up_revision_id)))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=RevisionRow.__tablename__,
    on_version_apply=note_version,
)
context.run_migrations()
