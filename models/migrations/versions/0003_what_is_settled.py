"""Settled rows cost as little as they can: tallies instead of counting, no index that asks for the state."""

import sqlalchemy as sa
from alembic import op

from models.base import Id, Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

REFERENCES = {
    "attempt": ("message_id", "run_id", "worker_id"),
    "message": ("enrollment_id", "campaign_id", "version_id", "contact_id", "chunk_id"),
    "enrollment": ("campaign_id", "version_id", "contact_id", "cause_event_id", "cause_transition_id"),
}
RULES = {
    "chunk": "chunk_id IS NULL OR state IN ('planned', 'sending', 'accepted')",
    "sent": "(sent_at IS NOT NULL) = (state IN ('sending', 'accepted', 'unknown'))",
    "unknown": "(unknown_since IS NOT NULL) = (state = 'unknown')",
    "waiting": "not_before IS NULL OR (chunk_id IS NULL AND state IN ('planned', 'deferred'))",
}


def upgrade() -> None:
    for name in ("campaign_id_state", "cap", "sent", "unknown", "waiting"):
        op.drop_index(f"ix_message_{name}", "message")
    op.drop_index("uq_message_address_once", "message")
    op.drop_index("ix_attempt_run_id", "attempt")
    op.add_column("message", sa.Column("unknown_since", Instant(), nullable=True))
    op.execute("UPDATE message SET unknown_since = changed_at WHERE state = 'unknown'")
    op.execute(
        "UPDATE message SET sent_at = CASE WHEN state IN ('sending', 'accepted', 'unknown') THEN changed_at END "
        "WHERE (sent_at IS NOT NULL) <> (state IN ('sending', 'accepted', 'unknown'))"
    )
    op.execute(
        "UPDATE message SET not_before = NULL "
        "WHERE not_before IS NOT NULL AND NOT (chunk_id IS NULL AND state IN ('planned', 'deferred'))"
    )
    for table, columns in REFERENCES.items():  # SQLite replaces the table: in this order none refers to it any more
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.drop_constraint(f"fk_{table}_{column}", type_="foreignkey")
            if table == "message":
                batch.drop_constraint(op.f("ck_message_chunk"), type_="check")
                for name, rule in RULES.items():
                    batch.create_check_constraint(op.f(f"ck_message_{name}"), rule)
    if op.get_bind().dialect.name == "postgresql":
        # The second half of a page is for what becomes of its rows: written there, they touch no index.
        op.execute("ALTER TABLE message SET (fillfactor = 50)")
        op.execute("ALTER TABLE attempt SET (fillfactor = 50)")
    op.create_index("ix_message_campaign_id_sent_at", "message", ["campaign_id", "sent_at"])
    _partial("message", "ix_message_cap", ["contact_id", "sent_at"], "sent_at IS NOT NULL")
    _partial("message", "ix_message_waiting", ["campaign_id", "not_before"], "not_before IS NOT NULL")
    _partial("message", "ix_message_unknown", ["campaign_id", "id"], "unknown_since IS NOT NULL")
    address = ["campaign_id", "occurrence", "step_key", "address"]
    _partial("message", "uq_message_address_once", address, "sent_at IS NOT NULL", True)
    _partial("run", "ix_run_open", ["worker_id"], "ended_at IS NULL")  # a take-over asks for these alone
    _partial("worker", "ix_worker_open", ["id"], "ended_at IS NULL")
    op.create_table(
        "tally",
        sa.Column("id", Id, nullable=False),
        sa.Column("campaign_id", Id, nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("messages", Id, nullable=False),
        sa.CheckConstraint("state IN ('accepted', 'skipped', 'failed')", name=op.f("ck_tally_state")),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("fk_tally_campaign_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tally")),
    )
    op.create_index("ix_tally_campaign_id", "tally", ["campaign_id"])
    op.execute(
        "INSERT INTO tally (campaign_id, state, reason, messages) SELECT campaign_id, state, reason, count(*) "
        "FROM message WHERE state IN ('accepted', 'skipped', 'failed') GROUP BY campaign_id, state, reason"
    )


def _partial(table: str, name: str, columns: list[str], where: str, unique: bool = False) -> None:
    op.create_index(name, table, columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
