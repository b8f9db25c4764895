"""What providers tell of messages, and requests that may be repeated."""

import sqlalchemy as sa
from alembic import op

from models.base import Id, Instant, Json

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "provider_event",
        sa.Column("id", Id, nullable=False),
        sa.Column("connector", sa.String(length=100), nullable=False),
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=30), nullable=False),
        sa.Column("verdict", sa.String(length=30), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("received_at", Instant(), nullable=False),
        sa.Column("address", sa.String(length=320), nullable=False),
        sa.Column("row", Id, nullable=False),
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("provider_id", sa.String(length=998), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("machine", sa.Boolean(), nullable=False),
        sa.Column("payload", Json, nullable=False),
        sa.Column("message_id", Id, nullable=True),
        sa.Column("applied_at", Instant(), nullable=True),
        sa.Column("result", sa.String(length=30), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_event")),
        sa.UniqueConstraint("connector", "event_id", name=op.f("uq_provider_event_connector_event_id")),
    )
    for name, column, where in (
        ("waiting", "id", "applied_at IS NULL"),
        ("message_id", "message_id", "message_id IS NOT NULL"),
        ("unplaced", "key", "message_id IS NULL AND key <> ''"),
        ("address", "address", "address <> ''"),
    ):
        op.create_index(
            f"ix_provider_event_{name}", "provider_event", [column],
            sqlite_where=sa.text(where), postgresql_where=sa.text(where),
        )  # fmt: skip
    op.create_table(
        "stored_request",
        sa.Column("id", Id, nullable=False),
        sa.Column("connector", sa.String(length=100), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("messages", Json, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("ends_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stored_request")),
        sa.UniqueConstraint("connector", "key", name=op.f("uq_stored_request_connector_key")),
    )
    op.add_column("attempt", sa.Column("request_id", Id, nullable=True))
    op.create_index(
        "ix_attempt_request_id", "attempt", ["request_id"],
        sqlite_where=sa.text("request_id IS NOT NULL"), postgresql_where=sa.text("request_id IS NOT NULL"),
    )  # fmt: skip
    op.create_index(
        "ix_message_resolution", "message", ["campaign_id", "resolution"],
        sqlite_where=sa.text("resolution IS NOT NULL"), postgresql_where=sa.text("resolution IS NOT NULL"),
    )  # fmt: skip
