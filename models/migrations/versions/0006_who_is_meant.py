"""Other ids of contacts, and what is posted about people nobody knows yet."""

import sqlalchemy as sa
from alembic import op

from models.base import Id, Instant, Json

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "contact_alias",
        sa.Column("id", Id, nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("source_id", sa.String(length=255), nullable=False),
        sa.Column("contact_id", Id, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name=op.f("fk_contact_alias_contact_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_alias")),
        sa.UniqueConstraint("source", "source_id", name=op.f("uq_contact_alias_source_source_id")),
    )
    op.create_index("ix_contact_alias_contact_id", "contact_alias", ["contact_id"])
    op.create_table(
        "posted_message",
        sa.Column("id", Id, nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("message_id", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("anonymous_id", sa.String(length=255), nullable=True),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("content", Json, nullable=False),
        sa.Column("received_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_posted_message")),
        sa.UniqueConstraint("source", "message_id", name=op.f("uq_posted_message_source_message_id")),
    )
    where = sa.text("anonymous_id IS NOT NULL")
    op.create_index(
        "ix_posted_message_waiting", "posted_message", ["source", "anonymous_id"],
        sqlite_where=where, postgresql_where=where,
    )  # fmt: skip
    op.create_index("ix_posted_message_received_at", "posted_message", ["received_at"])
