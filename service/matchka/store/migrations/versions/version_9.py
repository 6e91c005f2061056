"""Why subjects are enrolled and until when; and a deletion log that no longer says who was deleted."""

from typing import Final

import sqlalchemy as sa
from alembic import context, op

from matchka.store.subject_hash import SubjectHasher

revision = "9"
down_revision = "8"


ROWS_AT_ONCE: Final = 10_000


def upgrade() -> None:
    """Add them; nobody who is there expires."""
    op.add_column("subjects", sa.Column("expires_at", sa.DateTime(timezone=True)))
    op.create_index("subjects_by_expiry", "subjects", ["expires_at"])
    op.create_table(
        "subject_terms",
        sa.Column("subject_key", sa.Integer, sa.ForeignKey("subjects.key", ondelete="CASCADE"), primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table("deletion_horizon", sa.Column("forgotten_until", sa.DateTime(timezone=True), primary_key=True))
    op.add_column("deletions", sa.Column("subject_hash", sa.String(64)))
    _hash_subjects(context.config.attributes.get("hasher"))
    op.drop_column("deletions", "subject_id")
    op.create_index("deletions_by_time", "deletions", ["deleted_at"])


def _hash_subjects(hasher: SubjectHasher | None) -> None:
    """Keep the hash of each id, where the key is at hand; the ids go, and whoever has only the database learns none."""
    if hasher is None:
        return
    connection = op.get_bind()
    table = sa.table("deletions", *map(sa.column, ("template_id", "tenant", "subject_id", "subject_hash")))
    change = (
        sa.update(table)
        .where(table.c.template_id == sa.bindparam("of_template"))
        .values(subject_hash=sa.bindparam("hashed"))
    )
    query = sa.select(table.c.template_id, table.c.tenant, table.c.subject_id).order_by(table.c.template_id)
    last = ""
    while found := connection.execute(query.where(table.c.template_id > last).limit(ROWS_AT_ONCE)).all():
        connection.execute(
            change,
            [{"of_template": row.template_id, "hashed": hasher.hash_of(row.tenant, row.subject_id)} for row in found],
        )
        last = found[-1].template_id
