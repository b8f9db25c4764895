"""How often somebody wants to be written to."""

import sqlalchemy as sa
from alembic import op

from models.base import Id, Instant

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("contact", sa.Column("spacing_days", sa.Integer(), nullable=True))
    op.create_table(
        "frequency_choice",
        sa.Column("id", Id, nullable=False),
        sa.Column("contact_id", Id, nullable=False),
        sa.Column("spacing_days", sa.Integer(), nullable=True),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("wording", sa.String(length=2000), nullable=False),
        sa.CheckConstraint("spacing_days > 0", name=op.f("ck_frequency_choice_spacing_days")),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name=op.f("fk_frequency_choice_contact_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_frequency_choice")),
    )
    op.create_index("ix_frequency_choice_contact_id", "frequency_choice", ["contact_id"])
