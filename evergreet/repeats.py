"""Requests that may be repeated: stored with the intent, repeated as they were while their key lives, then deleted.

A provider with idempotency keys does what comes with one key once, and answers the second time as it did the first. So
a doubt ends by sending the identical request again, unless anybody in it must not be written to any more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, exists, func, insert, or_, select, update
from sqlmodel import col

from evergreet.clock import Clock
from evergreet.contracts import Accepted, EmailMessage, Outcome, RepeatableSender
from evergreet.database import Database
from evergreet.errors import Misconfigured, Permanent, Retryable
from evergreet.feedback.doubts import Heard, accept, refuse
from evergreet.ledger import PROVIDER_ID_LENGTH, storable
from evergreet.resolutions import ASSUMED
from evergreet.settings import Settings
from evergreet.store import among
from models import Attempt, CampaignRow, Consent, Contact, Message, StoredRequest, Suppression

_REFER = (
    update(Attempt)
    .where(
        among(Attempt.message_id, "messages"),
        col(Attempt.number)
        == select(col(Message.attempts)).where(col(Message.id) == col(Attempt.message_id)).scalar_subquery(),
    )
    .values(request_id=bindparam("request"))
)
_OPEN = exists().where(col(Attempt.request_id) == col(StoredRequest.id), col(Attempt.outcome).in_(("", "unknown")))


@dataclass(slots=True)
class Remembered:
    """The requests of one window: written and stored with its intent, handed over after it."""

    sender: RepeatableSender
    rendered: Mapping[int, EmailMessage]
    count: int = 0
    requests: list[tuple[str, bytes, tuple[int, ...]]] = field(default_factory=list)
    """Key, body, and the places of the messages in the window."""
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    ids: list[int] = field(default_factory=list)

    def store(self, connection: Connection, going: Mapping[int, int], now: datetime) -> None:
        """Write the requests for the messages that go, in the transaction of their intent."""
        messages = list(going)
        prepared, refused = self.sender.prepare([self.rendered[message] for message in messages])
        life = self.sender.capabilities.idempotency
        assert life is not None, f"{self.sender.name} hands over requests and does not say how long their keys live"
        self.count, self.outcomes, self.requests, self.ids = len(messages), dict(refused), [], []
        for request in prepared:
            inside = [messages[place] for place in request.places]
            key = _key(request.body, [(message, going[message]) for message in inside])
            number = connection.execute(
                insert(StoredRequest)
                .values(
                    connector=self.sender.name, key=key, body=request.body, messages=inside, at=now, ends_at=now + life
                )
                .returning(col(StoredRequest.id))
            ).scalar_one()
            connection.execute(_REFER, {"messages": inside, "request": number})
            self.requests.append((key, request.body, request.places))
            self.ids.append(number)

    def hand_over(self, late: Callable[[], Outcome | None]) -> list[Outcome]:
        """Hand the requests over, one after the other; an answer for everybody ends it, and nothing more is begun.

        `late` is asked before each: what it answers stands for all that is not begun.
        """
        given_back: Outcome | None = None
        for key, body, places in self.requests:
            given_back = given_back or late()
            outcomes = [given_back] * len(places) if given_back else _handed(self.sender, body, key, len(places))
            self.outcomes |= dict(zip(places, outcomes, strict=True))
            if all(isinstance(outcome, Retryable | Misconfigured) for outcome in outcomes):
                given_back = Retryable("not begun: the request before it was not taken", accepted="no")
        return [self.outcomes[place] for place in range(self.count)]


def _key(body: bytes, attempts: Sequence[tuple[int, int]]) -> str:
    """Name a request: the same for the same attempts only, also after a restore from backup."""
    named = blake2b(body, digest_size=20)
    named.update(repr(attempts).encode())
    return f"evergreet-{named.hexdigest()}"


def _handed(sender: RepeatableSender, body: bytes, key: str, count: int) -> list[Outcome]:
    try:
        outcomes = sender.hand_over(body, key, count)
    except (Retryable, Permanent, Misconfigured) as error:
        return [error] * count
    except Exception as error:  # a connector may fail in any way: then nobody knows what was accepted
        return [Retryable(f"{sender.name}: {type(error).__name__}", accepted="maybe")] * count
    if len(outcomes) != count:
        return [Retryable(f"{sender.name} answered {len(outcomes)} outcomes", accepted="maybe")] * count
    return outcomes


def forget(connection: Connection, requests: Sequence[int]) -> None:
    """Delete those of these requests whose attempts are all settled."""
    if requests:
        connection.execute(delete(StoredRequest).where(col(StoredRequest.id).in_(requests), ~_OPEN))


def repeat(database: Database, sender: RepeatableSender, settings: Settings, clock: Clock) -> int:
    """Repeat the stored requests of a connector whose fate is unknown; return how many messages that resolved.

    What has outlived its key, or is settled, is deleted.
    """
    resolved = after = 0
    while True:
        with database.write() as connection:
            now = clock.now(connection)
            lives_to = now + timedelta(seconds=2 * settings.hand_over_seconds)
            connection.execute(
                delete(StoredRequest).where(
                    col(StoredRequest.connector) == sender.name, or_(col(StoredRequest.ends_at) <= lives_to, ~_OPEN)
                )
            )
            request = connection.execute(
                select(StoredRequest)
                .where(
                    col(StoredRequest.connector) == sender.name, col(StoredRequest.id) > after,
                    col(StoredRequest.at) <= now - timedelta(seconds=2 * settings.hand_over_seconds),
                )
                .order_by(col(StoredRequest.id))
                .limit(1)
            ).one_or_none()  # fmt: skip
            may = request is not None and _may_be_repeated(connection, request, now)
        if request is None:
            return resolved
        after = request.id
        if may:
            outcomes = _handed(sender, request.body, request.key, len(request.messages))
            with database.write() as connection:
                now = clock.now(connection)
                resolved += _settle(connection, dict(zip(request.messages, outcomes, strict=True)), now)
                forget(connection, [request.id])


def _may_be_repeated(connection: Connection, request: Any, now: datetime) -> bool:
    """Say whether everybody in a request may be written to as when it was written; their contacts are locked.

    Not once somebody in it was tried again, or was taken as sent: then its own attempt is not the last word any more.
    Not after a restore either, where nobody knows what was tried since.
    """
    messages: Sequence[int] = request.messages
    connection.execute(
        select(col(Contact.id))
        .where(col(Contact.id).in_(select(col(Message.contact_id)).where(among(Message.id, "messages"))))
        .order_by(col(Contact.id))
        .with_for_update(key_share=True),
        {"messages": messages},
    )
    good = connection.execute(
        select(func.count())
        .select_from(Message)
        .join(Contact, col(Contact.id) == col(Message.contact_id))
        .join(CampaignRow, col(CampaignRow.id) == col(Message.campaign_id))
        .join(
            Attempt,
            and_(
                col(Attempt.message_id) == col(Message.id), col(Attempt.number) == col(Message.attempts),
                col(Attempt.request_id) == request.id,
            ),
        )
        .where(
            among(Message.id, "messages"), col(Message.state).in_(("unknown", "accepted")),
            col(Message.resolution).is_distinct_from(ASSUMED),
            col(CampaignRow.state) == "live", col(Contact.erased_at).is_(None),
            or_(col(CampaignRow.held_until).is_(None), col(CampaignRow.held_until) < request.at),
            or_(col(Contact.paused_until).is_(None), col(Contact.paused_until) <= now), ~_suppressed(), _agreed(),
        ),
        {"messages": messages},
    ).scalar_one()  # fmt: skip
    return good == len(messages)


def _suppressed() -> ColumnElement[bool]:
    return exists().where(
        col(Suppression.address).in_((col(Message.address), col(Contact.address))),
        or_(col(Suppression.scope) == "all", col(Message.purpose) == "marketing"),
    )


def _agreed() -> ColumnElement[bool]:
    newest = (
        select(col(Consent.granted))
        .where(col(Consent.contact_id) == col(Message.contact_id), col(Consent.topic) == col(Message.topic))
        .order_by(col(Consent.at).desc(), col(Consent.id).desc())
        .limit(1)
        .scalar_subquery()
    )
    return or_(col(Message.purpose) != "marketing", and_(newest.is_not(None), newest))


def _settle(connection: Connection, outcomes: Mapping[int, Outcome], now: datetime) -> int:
    """Write what the answer to a repeat says of messages in doubt; what is still in doubt stays so."""
    taken = [
        Heard(message, storable(outcome.provider_id, PROVIDER_ID_LENGTH))
        for message, outcome in outcomes.items()
        if isinstance(outcome, Accepted)
    ]
    resolved = accept(connection, taken, now, "repeated", "the stored request was repeated with its key")
    refused: dict[str, list[Any]] = {}
    for message, outcome in outcomes.items():
        if isinstance(outcome, Permanent):
            refused.setdefault(storable(outcome.reason, 500) or "refused", []).append(message)
    for reason, messages in refused.items():
        resolved += refuse(connection, messages, reason, now)
    return resolved
