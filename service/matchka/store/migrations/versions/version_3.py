"""How many rows of the graph's output each embedding is the mean of; of those that are there, nobody knows."""

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Add the columns, without values."""
    for name in ("templates", "subject_references"):
        op.add_column(name, sa.Column("row_count", sa.Integer))
