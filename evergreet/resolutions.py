"""How doubts ended, and which have not: per campaign, step and resolution, and why the rest is still held."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select
from sqlmodel import col

from evergreet.campaigns import Version
from evergreet.contracts import Capabilities
from evergreet.errors import ConfigurationError
from evergreet.feedback.placing import UNKNOWN
from evergreet.reasons import explained
from evergreet.registry import connector_class
from evergreet.wording import moment
from models import CampaignRow, CampaignVersion, Message

ASSUMED = "assumed_sent"
MEANINGS = {
    "webhook": "the provider told of it",
    "found": "the provider was asked and has it",
    "not_found": "the provider was asked and does not have it: planned again",
    "repeated": "the stored request was repeated with its idempotency key",
    "resend": "planned again because the step asks for it (`resend_after`)",
    "retried": "planned again on somebody's word (`evergreet retry`)",
    ASSUMED: "taken as sent on somebody's word (`evergreet reconcile --assume-sent`)",
}
"""What a resolution on a row of the ledger means."""

_SINCE = func.coalesce(Message.sent_at, Message.due_at)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Messages of a step whose doubt ended in one way; `oldest` is the earliest they were sent, or due."""

    campaign: str
    step: str
    resolution: str
    messages: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class Held:
    """Messages of a step that are in doubt for one reason, and what will end it; `oldest` is the earliest sent."""

    campaign: str
    step: str
    reason: str
    provider: str
    messages: int
    oldest: datetime
    ends: str


@dataclass(frozen=True, slots=True)
class Doubts:
    """All doubts of the ledger: those that ended, and those that are held."""

    resolved: list[Resolved]
    held: list[Held]

    def as_dict(self) -> dict[str, Any]:
        """Return it for machines, times in ISO 8601."""
        return {
            "resolved": [{**asdict(one), "oldest": one.oldest.isoformat()} for one in self.resolved],
            "held": [{**asdict(one), "oldest": one.oldest.isoformat()} for one in self.held],
        }


def doubts(connection: Connection) -> Doubts:
    """Count the doubts of the ledger, in one query for those that ended and one for those that did not."""
    resolved = connection.execute(
        _counted(col(Message.resolution)).where(col(Message.resolution).is_not(None))
    ).all()  # fmt: skip
    held = connection.execute(
        _counted(col(Message.version_id), col(Message.reason), col(Message.provider)).where(
            UNKNOWN, col(Message.resolution).is_distinct_from(ASSUMED)
        )
    ).all()
    steps = _policies(connection, {row.version_id for row in held})
    return Doubts(
        [Resolved(row.name, row.step_key, row.resolution, row.messages, row.oldest) for row in resolved],
        [
            Held(
                row.name, row.step_key, explained(row.reason), row.provider or "", row.messages, row.oldest,
                _what_ends(row, steps.get((row.version_id, row.step_key))),
            )
            for row in held
        ],
    )  # fmt: skip


def _counted(*by: Any) -> Select[Any]:
    kinds = (col(CampaignRow.name), col(Message.step_key), *by)
    return (
        select(*kinds, func.count().label("messages"), func.min(_SINCE).label("oldest"))
        .join(CampaignRow, col(CampaignRow.id) == col(Message.campaign_id))
        .group_by(*kinds)
        .order_by(*kinds)
    )


def _policies(connection: Connection, versions: set[int]) -> dict[tuple[int, str], Any]:
    """Return the steps of these versions by version and key."""
    rows = connection.execute(select(CampaignVersion).where(col(CampaignVersion.id).in_(sorted(versions)))).all()
    return {(row.id, step.key): step for row in rows for step in Version.read(row).campaign.steps}


def _what_ends(row: Any, step: Any) -> str:
    """Say what will end a doubt, as far as anything does by itself."""
    able = _capabilities(row.provider)
    ways = [
        way
        for way, there in (
            ("its provider is asked", able.find),
            ("its provider's webhook may tell of it", able.webhooks),
            ("its stored request is repeated while its key lives", able.idempotency is not None),
        )
        if there
    ]
    if step is not None and step.resend_after is not None:
        ways.append(f"the step repeats it from {moment(row.oldest + step.resend_after.span)} on")
    return "; ".join(ways) or "nothing by itself: decide with `evergreet reconcile --assume-sent` or `evergreet retry`"


def _capabilities(provider: str | None) -> Capabilities:
    try:
        return connector_class(provider).capabilities if provider else Capabilities()
    except ConfigurationError:  # it is not installed any more
        return Capabilities()
