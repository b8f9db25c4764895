"""How far CRMs were read, what they said, and when a contact's values were last changed."""

import sqlalchemy as sa
from alembic import op

from models.base import Id, Instant, Json

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "crm_cursor",
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("cursor", sa.String(length=1000), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_crm_cursor")),
    )
    op.create_table(
        "crm_row",
        sa.Column("id", Id, nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("source_id", sa.String(length=255), nullable=False),
        sa.Column("contact_id", Id, nullable=False),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.Column("told", Json, nullable=False),
        sa.Column("gone_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name=op.f("fk_crm_row_contact_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_crm_row")),
        sa.UniqueConstraint("source", "source_id", name=op.f("uq_crm_row_source_source_id")),
    )
    op.create_index("ix_crm_row_contact_id", "crm_row", ["contact_id"])
    op.add_column("contact", sa.Column("told_at", Json, nullable=True))
