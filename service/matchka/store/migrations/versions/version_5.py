"""What decides which of a bundle's thresholds hold for a template; those that are there came without."""

import sqlalchemy as sa
from alembic import op

revision = "5"
down_revision = "4"


def upgrade() -> None:
    """Add the columns, without values."""
    for name in ("templates", "subject_references"):
        op.add_column(name, sa.Column("condition", sa.Double))
