"""The send ledger: enrollments, chunks, messages, attempts, and the workers and runs behind them."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field

from models.base import Id, Instant, Json, Table


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """Index only the rows that are still open: a ledger is mostly settled rows."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


class Run(Table, table=True):
    """One run of a campaign by one worker; its balance is the sum over its attempts."""

    __tablename__ = "run"
    __table_args__ = (_partial("ix_run_open", "worker_id", where="ended_at IS NULL"),)

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    campaign_id: int | None = Field(default=None, foreign_key="campaign.id", sa_type=Id)
    worker_id: int | None = Field(default=None, foreign_key="worker.id", sa_type=Id)
    started_at: datetime = Field(sa_type=Instant)
    ended_at: datetime | None = Field(default=None, sa_type=Instant)
    state: str = Field(default="running", max_length=20)
    summary: dict[str, Any] = Field(default_factory=dict, sa_type=Json, nullable=False)


class WorkerRow(Table, table=True):
    """One process that owns chunks. It lives as long as its lock on `slot` is held."""

    __tablename__ = "worker"
    __table_args__ = (
        Index("ix_worker_slot_id", "slot", "id"),
        _partial("ix_worker_open", "id", where="ended_at IS NULL"),
    )

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    slot: int
    host: str = Field(max_length=255)
    pid: int
    started_at: datetime = Field(sa_type=Instant)
    ended_at: datetime | None = Field(default=None, sa_type=Instant)
    end: str = Field(default="", max_length=20)


class Enrollment(Table, table=True):
    """One contact's passage through one occurrence of one campaign, pinned to a version.

    Who met the trigger but not the audience is recorded too (`excluded`, with the reason), so that every
    trigger is accounted for. `zone` is the time zone that `next_due_at` was counted in, `counted_at` the moment
    it was counted from where that is not the triggering one.

    What enrollments, messages and attempts refer to is never deleted, and each is read from there by the statement
    that writes them; the audit looks it up again. A foreign key would do so row by row, at half of all that they cost.
    """

    __tablename__ = "enrollment"
    __table_args__ = (
        UniqueConstraint("campaign_id", "contact_id", "occurrence"),
        CheckConstraint("state IN ('active', 'finished', 'excluded', 'stopped')", name="state"),
        _partial("ix_enrollment_due", "campaign_id", "next_due_at", where="next_due_at IS NOT NULL"),
        _partial("ix_enrollment_unscheduled", "campaign_id", "id",
                 where="next_due_at IS NULL AND state = 'active'"),
        Index("ix_enrollment_contact_id", "contact_id"),
    )  # fmt: skip

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    campaign_id: int = Field(sa_type=Id)
    version_id: int = Field(sa_type=Id)
    contact_id: int = Field(sa_type=Id)
    occurrence: str = Field(max_length=400)
    cause_event_id: int | None = Field(default=None, sa_type=Id)
    cause_transition_id: int | None = Field(default=None, sa_type=Id)
    caused_at: datetime = Field(sa_type=Instant)
    enrolled_at: datetime = Field(sa_type=Instant)
    state: str = Field(default="active", max_length=20)
    reason: str = Field(default="", max_length=200)
    next_step: str | None = Field(default=None, max_length=100)
    next_due_at: datetime | None = Field(default=None, sa_type=Instant)
    counted_at: datetime | None = Field(default=None, sa_type=Instant)
    zone: str | None = Field(default=None, max_length=64)


class Chunk(Table, table=True):
    """About a thousand planned messages of one step of one version that are owned and worked on together.

    `epoch` rises with every claim; whoever writes says which epoch is theirs. `deaths` counts owners that
    died with it in hand; from the first on, `in_hand` names the one message being worked on.
    """

    __tablename__ = "chunk"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'done')", name="state"),
        _partial("ix_chunk_open", "campaign_id", "priority", "id", where="state = 'open'"),
    )

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    campaign_id: int = Field(foreign_key="campaign.id", sa_type=Id)
    version_id: int = Field(foreign_key="campaign_version.id", sa_type=Id)
    step_key: str = Field(max_length=100)
    priority: int = Field(default=1)
    state: str = Field(default="open", max_length=20)
    owner_id: int | None = Field(default=None, foreign_key="worker.id", sa_type=Id)
    epoch: int = Field(default=0)
    deaths: int = Field(default=0)
    in_hand: int | None = Field(default=None, sa_type=Id)
    created_at: datetime = Field(sa_type=Instant)


class Message(Table, table=True):
    """The ledger row for one step of one enrollment; unique; it exists before anything is sent.

    States: planned → sending → accepted, failed or unknown; planned → skipped or deferred; deferred →
    planned at `not_before`. `delivery` is what the provider says later; `accepted` never changes.

    `sent_at` is set as long as the message has, or may have, reached its reader, `unknown_since` as long as nobody
    knows, and an accepted one keeps its chunk. So no index asks for the state: a row that is accepted, as nearly all
    are, touches none, and PostgreSQL writes it beside its old self (pages are half filled for that).
    """

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("enrollment_id", "step_key"),
        CheckConstraint(
            "state IN ('planned', 'sending', 'accepted', 'failed', 'unknown', 'skipped', 'deferred')",
            name="state",
        ),
        CheckConstraint("state NOT IN ('skipped', 'deferred', 'failed', 'unknown') OR reason <> ''",
                        name="reason"),
        CheckConstraint("chunk_id IS NULL OR state IN ('planned', 'sending', 'accepted')", name="chunk"),
        CheckConstraint("(sent_at IS NOT NULL) = (state IN ('sending', 'accepted', 'unknown'))", name="sent"),
        CheckConstraint("(unknown_since IS NOT NULL) = (state = 'unknown')", name="unknown"),
        CheckConstraint("not_before IS NULL OR (chunk_id IS NULL AND state IN ('planned', 'deferred'))",
                        name="waiting"),
        _partial("uq_message_address_once", "campaign_id", "occurrence", "step_key", "address",
                 where="sent_at IS NOT NULL", unique=True),
        _partial("ix_message_chunk_id", "chunk_id", where="chunk_id IS NOT NULL"),
        _partial("ix_message_waiting", "campaign_id", "not_before", where="not_before IS NOT NULL"),
        _partial("ix_message_unknown", "campaign_id", "id", where="unknown_since IS NOT NULL"),
        _partial("ix_message_cap", "contact_id", "sent_at", where="sent_at IS NOT NULL"),
        _partial("ix_message_resolution", "campaign_id", "resolution", where="resolution IS NOT NULL"),
        Index("ix_message_campaign_id_sent_at", "campaign_id", "sent_at"),
    )  # fmt: skip

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    enrollment_id: int = Field(sa_type=Id)
    campaign_id: int = Field(sa_type=Id)
    version_id: int = Field(sa_type=Id)
    contact_id: int = Field(sa_type=Id)
    occurrence: str = Field(max_length=400)
    step_key: str = Field(max_length=100)
    channel: str = Field(default="email", max_length=20)
    purpose: str = Field(max_length=20)
    topic: str | None = Field(default=None, max_length=100)
    due_at: datetime = Field(sa_type=Instant)
    counted_at: datetime | None = Field(default=None, sa_type=Instant)
    zone: str | None = Field(default=None, max_length=64)
    state: str = Field(default="planned", max_length=20)
    reason: str = Field(default="", max_length=500)
    not_before: datetime | None = Field(default=None, sa_type=Instant)
    chunk_id: int | None = Field(default=None, sa_type=Id)
    attempts: int = Field(default=0)
    deaths: int = Field(default=0)
    address: str | None = Field(default=None, max_length=320)
    sent_at: datetime | None = Field(default=None, sa_type=Instant)
    unknown_since: datetime | None = Field(default=None, sa_type=Instant)
    provider: str | None = Field(default=None, max_length=100)
    provider_id: str | None = Field(default=None, max_length=998)
    delivery: str | None = Field(default=None, max_length=20)
    resolution: str | None = Field(default=None, max_length=100)
    changed_at: datetime = Field(sa_type=Instant)


class Attempt(Table, table=True):
    """One hand-over of one message: written with the intent, before the network is touched.

    `outcome` is empty while in flight; then accepted, failed, returned (certainly not accepted, planned
    again) or unknown. `provider` is the connector it was handed to: a message may go to another one when it certainly
    was not accepted. `request_id` names the `StoredRequest` it went in, where that is kept.
    """

    __tablename__ = "attempt"
    __table_args__ = (
        UniqueConstraint("message_id", "number"),
        CheckConstraint("outcome IN ('', 'accepted', 'failed', 'returned', 'unknown')", name="outcome"),
        _partial("ix_attempt_request_id", "request_id", where="request_id IS NOT NULL"),
    )

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    message_id: int = Field(sa_type=Id)
    number: int
    run_id: int = Field(sa_type=Id)
    worker_id: int = Field(sa_type=Id)
    epoch: int
    started_at: datetime = Field(sa_type=Instant)
    settled_at: datetime | None = Field(default=None, sa_type=Instant)
    outcome: str = Field(default="", max_length=20)
    detail: str = Field(default="", max_length=500)
    provider: str | None = Field(default=None, max_length=100)
    request_id: int | None = Field(default=None, sa_type=Id)


class StoredRequest(Table, table=True):
    """A request as it was written, kept until its fate is known: within `ends_at` it may be repeated by its key.

    Only of connectors whose provider has idempotency keys. `messages` are ledger rows in the order of the request. It
    is deleted once each attempt in it is settled, and with an erasure of anybody in it.
    """

    __tablename__ = "stored_request"
    __table_args__ = (UniqueConstraint("connector", "key"),)

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    connector: str = Field(max_length=100)
    key: str = Field(max_length=255)
    body: bytes = Field(sa_type=LargeBinary)
    messages: list[int] = Field(default_factory=list, sa_type=Json, nullable=False)
    at: datetime = Field(sa_type=Instant)
    ends_at: datetime = Field(sa_type=Instant)


class Tally(Table, table=True):
    """How many messages of a campaign came to a settled state, for a reason, or left it (less than none).

    Written with the messages, in their transaction (`evergreet.tally`): the sum over a campaign's rows is what a count
    of its messages would say.
    """

    __tablename__ = "tally"
    __table_args__ = (
        CheckConstraint("state IN ('accepted', 'skipped', 'failed')", name="state"),
        Index("ix_tally_campaign_id", "campaign_id"),
    )

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    campaign_id: int = Field(foreign_key="campaign.id", sa_type=Id)
    state: str = Field(max_length=20)
    reason: str = Field(max_length=500)
    messages: int = Field(sa_type=Id)
