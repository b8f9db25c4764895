"""The first schema."""

import sqlalchemy as sa
from alembic import op

from models.base import Id, Instant, Json

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", Id, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=100), nullable=False),
        sa.Column("subject", sa.String(length=300), nullable=False),
        sa.Column("detail", Json, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_table(
        "campaign",
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("state_reason", sa.String(length=500), nullable=False),
        sa.Column("state_by", sa.String(length=20), nullable=False),
        sa.Column("live_since", Instant(), nullable=True),
        sa.Column("scanned_from", Id, nullable=True),
        sa.Column("scanned_to", Id, nullable=True),
        sa.Column("planned_to", Instant(), nullable=True),
        sa.Column("held_since", Instant(), nullable=True),
        sa.Column("held_until", Instant(), nullable=True),
        sa.Column("current_version_id", Id, nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.CheckConstraint(
            "state IN ('draft', 'live', 'paused', 'stopped', 'archived')", name=op.f("ck_campaign_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign")),
        sa.UniqueConstraint("name", name=op.f("uq_campaign_name")),
    )
    op.create_table(
        "contact",
        sa.Column("id", Id, nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("source_id", sa.String(length=255), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=True),
        sa.Column("address", sa.String(length=320), nullable=True),
        sa.Column("phone", sa.String(length=20), nullable=True),
        sa.Column("locale", sa.String(length=35), nullable=True),
        sa.Column("timezone", sa.String(length=64), nullable=True),
        sa.Column("attributes", Json, nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("stage", sa.String(length=100), nullable=True),
        sa.Column("stage_since", Instant(), nullable=True),
        sa.Column("paused_until", Instant(), nullable=True),
        sa.Column("erased_at", Instant(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.Column("position", Id, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact")),
        sa.UniqueConstraint("source", "source_id", name=op.f("uq_contact_source_source_id")),
    )
    with op.batch_alter_table("contact", schema=None) as batch_op:
        batch_op.create_index(
            "ix_contact_address",
            ["address"],
            unique=False,
            sqlite_where=sa.text("address IS NOT NULL"),
            postgresql_where=sa.text("address IS NOT NULL"),
        )
        batch_op.create_index("ix_contact_position", ["position"], unique=False)
        batch_op.create_index("ix_contact_stage", ["stage", "stage_since"], unique=False)

    op.create_table(
        "cursor",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("position", Id, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cursor")),
    )
    op.create_table(
        "ingest_position",
        sa.Column("id", Id, nullable=False),
        sa.Column("position", Id, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_ingest_position_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingest_position")),
    )
    op.create_table(
        "suppression",
        sa.Column("id", Id, nullable=False),
        sa.Column("address", sa.String(length=320), nullable=False),
        sa.Column("scope", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=100), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.CheckConstraint("scope IN ('all', 'marketing')", name=op.f("ck_suppression_scope")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suppression")),
        sa.UniqueConstraint("address", name=op.f("uq_suppression_address")),
    )
    op.create_table(
        "template_version",
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("sources", Json, nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_template_version")),
        sa.UniqueConstraint("hash", name=op.f("uq_template_version_hash")),
    )
    op.create_table(
        "worker",
        sa.Column("id", Id, nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("end", sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
    )
    with op.batch_alter_table("worker", schema=None) as batch_op:
        batch_op.create_index("ix_worker_slot_id", ["slot", "id"], unique=False)

    op.create_table(
        "campaign_version",
        sa.Column("id", Id, nullable=False),
        sa.Column("campaign_id", Id, nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("definition", Json, nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("fk_campaign_version_campaign_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign_version")),
        sa.UniqueConstraint("campaign_id", "hash", name=op.f("uq_campaign_version_campaign_id_hash")),
    )
    op.create_table(
        "consent",
        sa.Column("id", Id, nullable=False),
        sa.Column("contact_id", Id, nullable=False),
        sa.Column("topic", sa.String(length=100), nullable=False),
        sa.Column("granted", sa.Boolean(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("wording", sa.String(length=2000), nullable=False),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name=op.f("fk_consent_contact_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent")),
        sa.UniqueConstraint(
            "contact_id",
            "topic",
            "at",
            "granted",
            "source",
            name=op.f("uq_consent_contact_id_topic_at_granted_source"),
        ),
    )
    with op.batch_alter_table("consent", schema=None) as batch_op:
        batch_op.create_index("ix_consent_contact_id_topic_id", ["contact_id", "topic", "id"], unique=False)

    op.create_table(
        "event",
        sa.Column("id", Id, nullable=False),
        sa.Column("contact_id", Id, nullable=True),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("occurred_at", Instant(), nullable=False),
        sa.Column("properties", Json, nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("source_id", sa.String(length=255), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("superseded", sa.Boolean(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("ingested_at", Instant(), nullable=False),
        sa.Column("position", Id, nullable=False),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name=op.f("fk_event_contact_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint("source", "source_id", "revision", name=op.f("uq_event_source_source_id_revision")),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index(
            "ix_event_contact_id_name_occurred_at", ["contact_id", "name", "occurred_at"], unique=False
        )
        batch_op.create_index("ix_event_position", ["position"], unique=False)
        batch_op.create_index(
            "uq_event_current",
            ["source", "source_id"],
            unique=True,
            sqlite_where=sa.text("NOT superseded"),
            postgresql_where=sa.text("NOT superseded"),
        )

    op.create_table(
        "run",
        sa.Column("id", Id, nullable=False),
        sa.Column("campaign_id", Id, nullable=True),
        sa.Column("worker_id", Id, nullable=True),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("summary", Json, nullable=False),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("fk_run_campaign_id")),
        sa.ForeignKeyConstraint(["worker_id"], ["worker.id"], name=op.f("fk_run_worker_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
    )
    op.create_table(
        "stretch",
        sa.Column("id", Id, nullable=False),
        sa.Column("campaign_id", Id, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("low", Id, nullable=False),
        sa.Column("high", Id, nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("enrolled", Id, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.CheckConstraint("kind IN ('scan', 'gap', 'backfill')", name=op.f("ck_stretch_kind")),
        sa.CheckConstraint("low < high", name=op.f("ck_stretch_forward")),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("fk_stretch_campaign_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stretch")),
    )
    with op.batch_alter_table("stretch", schema=None) as batch_op:
        batch_op.create_index(
            "uq_stretch_contiguous",
            ["campaign_id", "low"],
            unique=True,
            sqlite_where=sa.text("kind <> 'backfill'"),
            postgresql_where=sa.text("kind <> 'backfill'"),
        )

    op.create_table(
        "chunk",
        sa.Column("id", Id, nullable=False),
        sa.Column("campaign_id", Id, nullable=False),
        sa.Column("version_id", Id, nullable=False),
        sa.Column("step_key", sa.String(length=100), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("owner_id", Id, nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("in_hand", Id, nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.CheckConstraint("state IN ('open', 'done')", name=op.f("ck_chunk_state")),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("fk_chunk_campaign_id")),
        sa.ForeignKeyConstraint(["owner_id"], ["worker.id"], name=op.f("fk_chunk_owner_id")),
        sa.ForeignKeyConstraint(["version_id"], ["campaign_version.id"], name=op.f("fk_chunk_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chunk")),
    )
    with op.batch_alter_table("chunk", schema=None) as batch_op:
        batch_op.create_index(
            "ix_chunk_open",
            ["campaign_id", "priority", "id"],
            unique=False,
            sqlite_where=sa.text("state = 'open'"),
            postgresql_where=sa.text("state = 'open'"),
        )

    op.create_table(
        "transition",
        sa.Column("id", Id, nullable=False),
        sa.Column("contact_id", Id, nullable=False),
        sa.Column("from_stage", sa.String(length=100), nullable=True),
        sa.Column("to_stage", sa.String(length=100), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("cause", sa.String(length=20), nullable=False),
        sa.Column("cause_event_id", Id, nullable=True),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.Column("position", Id, nullable=False),
        sa.CheckConstraint("cause IN ('rule', 'time', 'created', 'import', 'crm')", name=op.f("ck_transition_cause")),
        sa.ForeignKeyConstraint(["cause_event_id"], ["event.id"], name=op.f("fk_transition_cause_event_id")),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name=op.f("fk_transition_contact_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transition")),
    )
    with op.batch_alter_table("transition", schema=None) as batch_op:
        batch_op.create_index("ix_transition_contact_id_id", ["contact_id", "id"], unique=False)
        batch_op.create_index("ix_transition_position", ["position"], unique=False)

    op.create_table(
        "enrollment",
        sa.Column("id", Id, nullable=False),
        sa.Column("campaign_id", Id, nullable=False),
        sa.Column("version_id", Id, nullable=False),
        sa.Column("contact_id", Id, nullable=False),
        sa.Column("occurrence", sa.String(length=400), nullable=False),
        sa.Column("cause_event_id", Id, nullable=True),
        sa.Column("cause_transition_id", Id, nullable=True),
        sa.Column("caused_at", Instant(), nullable=False),
        sa.Column("enrolled_at", Instant(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("next_step", sa.String(length=100), nullable=True),
        sa.Column("next_due_at", Instant(), nullable=True),
        sa.Column("zone", sa.String(length=64), nullable=True),
        sa.CheckConstraint("state IN ('active', 'finished', 'excluded', 'stopped')", name=op.f("ck_enrollment_state")),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("fk_enrollment_campaign_id")),
        sa.ForeignKeyConstraint(["cause_event_id"], ["event.id"], name=op.f("fk_enrollment_cause_event_id")),
        sa.ForeignKeyConstraint(
            ["cause_transition_id"], ["transition.id"], name=op.f("fk_enrollment_cause_transition_id")
        ),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name=op.f("fk_enrollment_contact_id")),
        sa.ForeignKeyConstraint(["version_id"], ["campaign_version.id"], name=op.f("fk_enrollment_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrollment")),
        sa.UniqueConstraint(
            "campaign_id",
            "contact_id",
            "occurrence",
            name=op.f("uq_enrollment_campaign_id_contact_id_occurrence"),
        ),
    )
    with op.batch_alter_table("enrollment", schema=None) as batch_op:
        batch_op.create_index("ix_enrollment_contact_id", ["contact_id"], unique=False)
        batch_op.create_index(
            "ix_enrollment_due",
            ["campaign_id", "next_due_at"],
            unique=False,
            sqlite_where=sa.text("next_due_at IS NOT NULL"),
            postgresql_where=sa.text("next_due_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_enrollment_unscheduled",
            ["campaign_id", "id"],
            unique=False,
            sqlite_where=sa.text("next_due_at IS NULL AND state = 'active'"),
            postgresql_where=sa.text("next_due_at IS NULL AND state = 'active'"),
        )

    op.create_table(
        "message",
        sa.Column("id", Id, nullable=False),
        sa.Column("enrollment_id", Id, nullable=False),
        sa.Column("campaign_id", Id, nullable=False),
        sa.Column("version_id", Id, nullable=False),
        sa.Column("contact_id", Id, nullable=False),
        sa.Column("occurrence", sa.String(length=400), nullable=False),
        sa.Column("step_key", sa.String(length=100), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("purpose", sa.String(length=20), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("not_before", Instant(), nullable=True),
        sa.Column("chunk_id", Id, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(length=320), nullable=True),
        sa.Column("sent_at", Instant(), nullable=True),
        sa.Column("provider", sa.String(length=100), nullable=True),
        sa.Column("provider_id", sa.String(length=998), nullable=True),
        sa.Column("delivery", sa.String(length=20), nullable=True),
        sa.Column("resolution", sa.String(length=100), nullable=True),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.CheckConstraint("chunk_id IS NULL OR state IN ('planned', 'sending')", name=op.f("ck_message_chunk")),
        sa.CheckConstraint(
            "state IN ('planned', 'sending', 'accepted', 'failed', 'unknown', 'skipped', 'deferred')",
            name=op.f("ck_message_state"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('skipped', 'deferred', 'failed', 'unknown') OR reason <> ''",
            name=op.f("ck_message_reason"),
        ),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("fk_message_campaign_id")),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunk.id"], name=op.f("fk_message_chunk_id")),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name=op.f("fk_message_contact_id")),
        sa.ForeignKeyConstraint(["enrollment_id"], ["enrollment.id"], name=op.f("fk_message_enrollment_id")),
        sa.ForeignKeyConstraint(["version_id"], ["campaign_version.id"], name=op.f("fk_message_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message")),
        sa.UniqueConstraint("enrollment_id", "step_key", name=op.f("uq_message_enrollment_id_step_key")),
    )
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.create_index("ix_message_campaign_id_state", ["campaign_id", "state"], unique=False)
        batch_op.create_index(
            "ix_message_cap",
            ["contact_id", "sent_at"],
            unique=False,
            sqlite_where=sa.text("state IN ('sending', 'accepted', 'unknown')"),
            postgresql_where=sa.text("state IN ('sending', 'accepted', 'unknown')"),
        )
        batch_op.create_index(
            "ix_message_chunk_id",
            ["chunk_id"],
            unique=False,
            sqlite_where=sa.text("chunk_id IS NOT NULL"),
            postgresql_where=sa.text("chunk_id IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_message_sent",
            ["campaign_id", "sent_at"],
            unique=False,
            sqlite_where=sa.text("state IN ('sending', 'accepted', 'unknown')"),
            postgresql_where=sa.text("state IN ('sending', 'accepted', 'unknown')"),
        )
        batch_op.create_index(
            "ix_message_unknown",
            ["campaign_id", "id"],
            unique=False,
            sqlite_where=sa.text("state IN ('unknown', 'sending')"),
            postgresql_where=sa.text("state IN ('unknown', 'sending')"),
        )
        batch_op.create_index(
            "ix_message_waiting",
            ["campaign_id", "not_before"],
            unique=False,
            sqlite_where=sa.text("chunk_id IS NULL AND state IN ('planned', 'deferred')"),
            postgresql_where=sa.text("chunk_id IS NULL AND state IN ('planned', 'deferred')"),
        )
        batch_op.create_index(
            "uq_message_address_once",
            ["campaign_id", "occurrence", "step_key", "address"],
            unique=True,
            sqlite_where=sa.text("state IN ('sending', 'accepted', 'unknown')"),
            postgresql_where=sa.text("state IN ('sending', 'accepted', 'unknown')"),
        )

    op.create_table(
        "attempt",
        sa.Column("id", Id, nullable=False),
        sa.Column("message_id", Id, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("run_id", Id, nullable=False),
        sa.Column("worker_id", Id, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("settled_at", Instant(), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("detail", sa.String(length=500), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('', 'accepted', 'failed', 'returned', 'unknown')", name=op.f("ck_attempt_outcome")
        ),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_attempt_message_id")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_attempt_run_id")),
        sa.ForeignKeyConstraint(["worker_id"], ["worker.id"], name=op.f("fk_attempt_worker_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
        sa.UniqueConstraint("message_id", "number", name=op.f("uq_attempt_message_id_number")),
    )
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.create_index("ix_attempt_run_id", ["run_id"], unique=False)

    op.execute("INSERT INTO ingest_position (id, position) VALUES (1, 0)")


def downgrade() -> None:
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.drop_index("ix_attempt_run_id")

    op.drop_table("attempt")
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_message_address_once",
            sqlite_where=sa.text("state IN ('sending', 'accepted', 'unknown')"),
            postgresql_where=sa.text("state IN ('sending', 'accepted', 'unknown')"),
        )
        batch_op.drop_index(
            "ix_message_waiting",
            sqlite_where=sa.text("chunk_id IS NULL AND state IN ('planned', 'deferred')"),
            postgresql_where=sa.text("chunk_id IS NULL AND state IN ('planned', 'deferred')"),
        )
        batch_op.drop_index(
            "ix_message_unknown",
            sqlite_where=sa.text("state IN ('unknown', 'sending')"),
            postgresql_where=sa.text("state IN ('unknown', 'sending')"),
        )
        batch_op.drop_index(
            "ix_message_sent",
            sqlite_where=sa.text("state IN ('sending', 'accepted', 'unknown')"),
            postgresql_where=sa.text("state IN ('sending', 'accepted', 'unknown')"),
        )
        batch_op.drop_index(
            "ix_message_chunk_id",
            sqlite_where=sa.text("chunk_id IS NOT NULL"),
            postgresql_where=sa.text("chunk_id IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_message_cap",
            sqlite_where=sa.text("state IN ('sending', 'accepted', 'unknown')"),
            postgresql_where=sa.text("state IN ('sending', 'accepted', 'unknown')"),
        )
        batch_op.drop_index("ix_message_campaign_id_state")

    op.drop_table("message")
    with op.batch_alter_table("enrollment", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_enrollment_unscheduled",
            sqlite_where=sa.text("next_due_at IS NULL AND state = 'active'"),
            postgresql_where=sa.text("next_due_at IS NULL AND state = 'active'"),
        )
        batch_op.drop_index(
            "ix_enrollment_due",
            sqlite_where=sa.text("next_due_at IS NOT NULL"),
            postgresql_where=sa.text("next_due_at IS NOT NULL"),
        )
        batch_op.drop_index("ix_enrollment_contact_id")

    op.drop_table("enrollment")
    with op.batch_alter_table("transition", schema=None) as batch_op:
        batch_op.drop_index("ix_transition_position")
        batch_op.drop_index("ix_transition_contact_id_id")

    op.drop_table("transition")
    with op.batch_alter_table("chunk", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_chunk_open",
            sqlite_where=sa.text("state = 'open'"),
            postgresql_where=sa.text("state = 'open'"),
        )

    op.drop_table("chunk")
    with op.batch_alter_table("stretch", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_stretch_contiguous",
            sqlite_where=sa.text("kind <> 'backfill'"),
            postgresql_where=sa.text("kind <> 'backfill'"),
        )

    op.drop_table("stretch")
    op.drop_table("run")
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_event_current",
            sqlite_where=sa.text("NOT superseded"),
            postgresql_where=sa.text("NOT superseded"),
        )
        batch_op.drop_index("ix_event_position")
        batch_op.drop_index("ix_event_contact_id_name_occurred_at")

    op.drop_table("event")
    with op.batch_alter_table("consent", schema=None) as batch_op:
        batch_op.drop_index("ix_consent_contact_id_topic_id")

    op.drop_table("consent")
    op.drop_table("campaign_version")
    with op.batch_alter_table("worker", schema=None) as batch_op:
        batch_op.drop_index("ix_worker_slot_id")

    op.drop_table("worker")
    op.drop_table("template_version")
    op.drop_table("suppression")
    op.drop_table("ingest_position")
    op.drop_table("cursor")
    with op.batch_alter_table("contact", schema=None) as batch_op:
        batch_op.drop_index("ix_contact_stage")
        batch_op.drop_index("ix_contact_position")
        batch_op.drop_index(
            "ix_contact_address",
            sqlite_where=sa.text("address IS NOT NULL"),
            postgresql_where=sa.text("address IS NOT NULL"),
        )

    op.drop_table("contact")
    op.drop_table("campaign")
    op.drop_table("audit_log")
