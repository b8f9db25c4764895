"""Attempts name the connector they were handed to, and which providers are out is known to all workers."""

import sqlalchemy as sa
from alembic import op

from models.base import Instant

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
