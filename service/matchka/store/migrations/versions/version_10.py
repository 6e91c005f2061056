"""The change feed, which begins empty: galleries are filled from the store when a service starts."""

import sqlalchemy as sa
from alembic import op

revision = "10"
down_revision = "9"


def upgrade() -> None:
    """Make its tables."""
    op.create_table(
        "changes",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("transaction_id", sa.BigInteger, nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("subject_key", sa.Integer, nullable=False),
        sa.Column("model", sa.String(64)),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("changes_by_transaction", "changes", ["transaction_id", "number"])
    op.create_table("change_horizon", sa.Column("transaction_id", sa.BigInteger, primary_key=True, autoincrement=False))
