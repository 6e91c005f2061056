"""Challenges."""

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """Make their table."""
    op.create_table(
        "challenges",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("challenge_id", sa.String(32), nullable=False, unique=True),
        sa.Column("subject_key", sa.Integer, sa.ForeignKey("subjects.key", ondelete="CASCADE"), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("content", sa.String(1024), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sqlite_autoincrement=True,
    )
    op.create_index("challenges_of_subject", "challenges", ["subject_key", "number"])
