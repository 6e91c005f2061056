"""Which key each subject's embeddings are encrypted under, where the keys are, and which are still to be destroyed."""

import sqlalchemy as sa
from alembic import op

revision = "7"
down_revision = "6"


def upgrade() -> None:
    """Add them; whoever is there is in clear."""
    op.add_column("subjects", sa.Column("key_id", sa.LargeBinary(16)))
    op.create_table("key_store_identity", sa.Column("identity", sa.String(32), primary_key=True))
    op.create_table("key_erasures", sa.Column("key_id", sa.LargeBinary(16), primary_key=True))
