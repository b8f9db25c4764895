"""Attempts name the connector they were handed to; who is out, and what a day gave to whom, is in the store."""

import sqlalchemy as sa
from alembic import op

from models.base import Id, Instant

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempt", sa.Column("provider", sa.String(100), nullable=True))
    op.create_table(
        "breaker",
        sa.Column("connector", sa.String(100), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("pauses", sa.Integer(), nullable=False),
        sa.Column("out_since", Instant(), nullable=True),
        sa.Column("until", Instant(), nullable=True),
        sa.Column("fault", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.PrimaryKeyConstraint("connector", name=op.f("pk_breaker")),
    )
    op.create_table(
        "provider_day",
        sa.Column("connector", sa.String(100), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("messages", Id, nullable=False),
        sa.PrimaryKeyConstraint("connector", "day", name=op.f("pk_provider_day")),
    )
