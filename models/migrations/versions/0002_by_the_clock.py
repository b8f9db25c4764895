"""What follows the clock, broadcasts, and what caps and priorities ask."""

import sqlalchemy as sa
from alembic import op

from models.base import Id, Instant

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("campaign", sa.Column("clock_from", Instant(), nullable=True))
    op.add_column("campaign", sa.Column("clock_to", Instant(), nullable=True))
    op.add_column("campaign", sa.Column("priority", sa.Integer(), server_default="1", nullable=False))
    op.add_column("enrollment", sa.Column("counted_at", Instant(), nullable=True))
    op.add_column("message", sa.Column("topic", sa.String(length=100), nullable=True))
    op.add_column("message", sa.Column("counted_at", Instant(), nullable=True))
    # Caps per topic count what was sent before as well.
    topic = (
        "json_extract(v.definition, '$.campaign.topic')"
        if op.get_bind().dialect.name == "sqlite"
        else "v.definition->'campaign'->>'topic'"
    )
    op.execute(f"UPDATE message SET topic = (SELECT {topic} FROM campaign_version v WHERE v.id = message.version_id)")
    op.create_table(
        "clock_stretch",
        sa.Column("id", Id, nullable=False),
        sa.Column("campaign_id", Id, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("low", Instant(), nullable=False),
        sa.Column("high", Instant(), nullable=False),
        sa.Column("enrolled", Id, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.CheckConstraint("kind IN ('scan', 'gap', 'backfill')", name=op.f("ck_clock_stretch_kind")),
        sa.CheckConstraint("low < high", name=op.f("ck_clock_stretch_forward")),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("fk_clock_stretch_campaign_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clock_stretch")),
    )
    op.create_index(
        "uq_clock_stretch_contiguous", "clock_stretch", ["campaign_id", "low"], unique=True,
        sqlite_where=sa.text("kind <> 'backfill'"), postgresql_where=sa.text("kind <> 'backfill'"),
    )  # fmt: skip
    op.create_table(
        "broadcast",
        sa.Column("id", Id, nullable=False),
        sa.Column("campaign_id", Id, nullable=False),
        sa.Column("occurrence", sa.String(length=400), nullable=False),
        sa.Column("event_id", Id, nullable=False),
        sa.Column("version_id", Id, nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("counted", Id, nullable=False),
        sa.Column("frozen", Id, nullable=True),
        sa.Column("frozen_at", Instant(), nullable=True),
        sa.Column("decided_by", sa.String(length=200), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.CheckConstraint("state IN ('waiting', 'frozen', 'cancelled')", name=op.f("ck_broadcast_state")),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("fk_broadcast_campaign_id")),
        sa.ForeignKeyConstraint(["event_id"], ["event.id"], name=op.f("fk_broadcast_event_id")),
        sa.ForeignKeyConstraint(["version_id"], ["campaign_version.id"], name=op.f("fk_broadcast_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_broadcast")),
        sa.UniqueConstraint("campaign_id", "occurrence", name=op.f("uq_broadcast_campaign_id_occurrence")),
    )
    op.create_index(
        "ix_event_name_occurred_at", "event", ["name", "occurred_at"],
        sqlite_where=sa.text("NOT superseded"), postgresql_where=sa.text("NOT superseded"),
    )  # fmt: skip
