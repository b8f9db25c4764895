"""Doubts that a provider's word resolves: who tells of a message has it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, String, and_, bindparam, case, func, null, or_, select, update
from sqlalchemy.orm import aliased
from sqlmodel import col

from evergreet.contracts import Kind
from evergreet.feedback.placing import UNKNOWN
from evergreet.store import checked, given, paired
from evergreet.tally import add_to_tally
from models import Attempt, Instant, Message, ProviderEvent
from models.base import Id

PROOF = frozenset(Kind) - {Kind.UNKNOWN}
"""Kinds of events that a provider tells only of what it took."""

_HEARD = given("heard", message=Id, name=String())
_OTHER = aliased(Message)
_TAKEN = (
    select(col(_OTHER.id))
    .where(
        col(_OTHER.campaign_id) == col(Message.campaign_id), col(_OTHER.occurrence) == col(Message.occurrence),
        col(_OTHER.step_key) == col(Message.step_key), col(_OTHER.address) == col(Message.address),
        col(_OTHER.id) != col(Message.id), col(_OTHER.sent_at).is_not(None),
    )
    .exists()
)  # fmt: skip
_IN_DOUBT = (
    select(col(Attempt.id))
    .where(
        col(Attempt.message_id) == col(Message.id), col(Attempt.number) == col(Message.attempts),
        col(Attempt.outcome) == "unknown",
    )
    .exists()
)  # fmt: skip
_HANDED_OVER = (
    select(col(Attempt.started_at))
    .where(col(Attempt.message_id) == col(Message.id), col(Attempt.number) == col(Message.attempts))
    .scalar_subquery()
)
_ACCEPT = (
    update(Message)
    .where(
        paired(Message.id, _HEARD.c.message, "messages"),
        checked(
            or_(
                UNKNOWN,
                # Planned again for all that, and not in a worker's hands yet: it need not go twice.
                and_(col(Message.state) == "planned", col(Message.chunk_id).is_(None), _IN_DOUBT, ~_TAKEN),
            )
        ),
    )
    .values(
        state="accepted", reason="", resolution=bindparam("how", type_=String()), not_before=null(),
        unknown_since=null(),
        sent_at=func.coalesce(col(Message.sent_at), _HANDED_OVER, bindparam("now", type_=Instant())),
        provider_id=case((_HEARD.c.name != "", _HEARD.c.name), else_=col(Message.provider_id)),
        changed_at=bindparam("now", type_=Instant()),
    )
    .returning(col(Message.id), col(Message.campaign_id))
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that its provider has told of; `name` is the provider's for it, empty where it gave none."""

    message_id: int
    name: str


def accept(
    connection: Connection,
    heard: Sequence[Heard],
    now: datetime,
    resolution: str = "webhook",
    detail: str = "told of by the provider's webhook",
) -> int:
    """Make accepted what is in doubt of these; return how many that were."""
    if not heard:
        return 0
    pairs = {"messages": [one.message_id for one in heard], "heard": [(one.message_id, one.name) for one in heard]}
    accepted = connection.execute(_ACCEPT, {**pairs, "now": now, "how": resolution}).all()
    if accepted:
        for campaign, count in Counter(row.campaign_id for row in accepted).items():
            add_to_tally(connection, campaign, {("accepted", ""): count})
        settle_attempts(connection, [row.id for row in accepted], "accepted", detail)
    return len(accepted)


def settle_attempts(connection: Connection, messages: Sequence[int], outcome: str, detail: str) -> None:
    """Write what became of the newest attempt of each message, where that was in doubt.

    A row that was held after a restore may have no attempt that stands for it.
    """
    newest = select(col(Message.attempts)).where(col(Message.id) == col(Attempt.message_id)).scalar_subquery()
    connection.execute(
        update(Attempt)
        .where(
            col(Attempt.message_id).in_(messages), col(Attempt.number) == newest, col(Attempt.outcome) == "unknown"
        )
        .values(outcome=outcome, detail=detail)
    )  # fmt: skip


def accept_what_was_told_before(connection: Connection, now: datetime) -> int:
    """Make accepted the unknown rows of which an event was applied earlier: before they came into doubt."""
    rows = connection.execute(
        select(col(Message.id), func.max(col(ProviderEvent.provider_id)).label("name"))
        .join(ProviderEvent, col(ProviderEvent.message_id) == col(Message.id))
        .where(UNKNOWN, col(ProviderEvent.kind).in_(sorted(PROOF)))
        .group_by(col(Message.id))
    ).all()
    return accept(connection, [Heard(row.id, row.name) for row in rows], now)


def refuse(connection: Connection, messages: Sequence[int], reason: str, now: datetime) -> int:
    """Make failed what is in doubt of these, on the provider's word about a repeat; return how many that were."""
    failed = connection.execute(
        update(Message)
        .where(col(Message.id).in_(messages), UNKNOWN)
        .values(
            state="failed", reason=reason, resolution="repeated", sent_at=None, unknown_since=None, changed_at=now
        )
        .returning(col(Message.id), col(Message.campaign_id))
    ).all()  # fmt: skip
    if failed:
        for campaign, count in Counter(row.campaign_id for row in failed).items():
            add_to_tally(connection, campaign, {("failed", reason): count})
        settle_attempts(connection, [row.id for row in failed], "failed", reason)
    return len(failed)
