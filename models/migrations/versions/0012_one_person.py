"""Contacts that turned out to be one person."""

import sqlalchemy as sa
from alembic import op

from models.base import Id, Instant, Json

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Without a foreign key: SQLite would have to write the whole table anew, while others refer to it.
    op.add_column("contact", sa.Column("merged_into", Id, nullable=True))
    known = sa.text("merged_into IS NOT NULL")
    op.create_index("ix_contact_merged_into", "contact", ["merged_into"], sqlite_where=known, postgresql_where=known)
    op.create_table(
        "contact_merge",
        sa.Column("id", Id, nullable=False),
        sa.Column("survivor_id", Id, nullable=False),
        sa.Column("loser_id", Id, nullable=True),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("source_id", sa.String(length=255), nullable=False),
        sa.Column("found_by", sa.String(length=20), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("before", Json, nullable=False),
        sa.Column("after", Json, nullable=False),
        sa.Column("loser", Json, nullable=False),
        sa.Column("moved", Json, nullable=False),
        sa.Column("undone_at", Instant(), nullable=True),
        sa.CheckConstraint("found_by IN ('address', 'id', 'hand')", name=op.f("ck_contact_merge_found_by")),
        sa.ForeignKeyConstraint(["survivor_id"], ["contact.id"], name=op.f("fk_contact_merge_survivor_id")),
        sa.ForeignKeyConstraint(["loser_id"], ["contact.id"], name=op.f("fk_contact_merge_loser_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_merge")),
    )
    op.create_index("ix_contact_merge_survivor_id", "contact_merge", ["survivor_id"])
    op.create_index("ix_contact_merge_loser_id", "contact_merge", ["loser_id"])
