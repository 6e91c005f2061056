"""API keys, and failed attempts by key."""

import sqlalchemy as sa
from alembic import op

revision = "6"
down_revision = "5"


def upgrade() -> None:
    """Make their tables."""
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String(16), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("scopes", sa.String(256), nullable=False),
        sa.Column("max_fmr", sa.Double),
        sa.Column("max_fpir", sa.Double),
        sa.Column("requests_per_s", sa.Double),
        sa.Column("max_subjects", sa.Integer),
        sa.Column("max_templates", sa.Integer),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.Column("replaced_by", sa.String(16)),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.Column("revision", sa.Integer, nullable=False),
    )
    op.create_index("keys_by_revision", "api_keys", ["revision"])
    op.create_table(
        "attempts",
        sa.Column("key_id", sa.String(16), primary_key=True),
        sa.Column("subject_key", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("level", sa.Double, nullable=False),
        sa.Column("strikes", sa.Integer, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("blocked_until", sa.DateTime(timezone=True)),
    )
    op.create_index("attempts_by_time", "attempts", ["updated_at"])
