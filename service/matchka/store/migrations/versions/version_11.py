"""Keys of requests that may be sent again, and what those were answered."""

import sqlalchemy as sa
from alembic import op

revision = "11"
down_revision = "10"


def upgrade() -> None:
    """Make their tables."""
    op.create_table(
        "idempotency_keys",
        sa.Column("name", sa.LargeBinary(32), primary_key=True),
        sa.Column("content", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("idempotency_keys_by_time", "idempotency_keys", ["created_at"])
    op.create_table(
        "enrolment_answers",
        sa.Column(
            "name", sa.LargeBinary(32), sa.ForeignKey("idempotency_keys.name", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("subject_key", sa.Integer, sa.ForeignKey("subjects.key", ondelete="CASCADE"), nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
    )
    op.create_index("enrolment_answers_of_subject", "enrolment_answers", ["subject_key"])
