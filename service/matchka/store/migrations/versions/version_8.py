"""The audit log and its head."""

import sqlalchemy as sa
from alembic import op

revision = "8"
down_revision = "7"
START = "0" * 64


def upgrade() -> None:
    """Make their tables; the log begins here."""
    op.create_table(
        "audit_log",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("call", sa.String(128), nullable=False),
        sa.Column("tenant", sa.String(64)),
        sa.Column("key_id", sa.String(16)),
        sa.Column("subject", sa.String(64)),
        sa.Column("model", sa.String(64)),
        sa.Column("version", sa.String(64)),
        sa.Column("threshold", sa.Double),
        sa.Column("detail", sa.String(256)),
        sa.Column("network", sa.String(64)),
        sa.Column("request_id", sa.String(32)),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_index("audit_of_tenant", "audit_log", ["tenant", "sequence"])
    op.create_table(
        "audit_head",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("pruned_sequence", sa.BigInteger, nullable=False),
        sa.Column("pruned_hash", sa.String(64), nullable=False),
    )
    op.execute(f"INSERT INTO audit_head VALUES (1, 0, '{START}', 0, '{START}')")  # noqa: S608 - constants
