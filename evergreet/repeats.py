"""Requests that may be repeated: stored with the intent, repeated as they were while their key lives, then deleted.

A provider with idempotency keys does what comes with one key once, and answers the second time as it did the first. So
a doubt ends by sending the identical request again, unless anybody in it must not be written to any more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlmodel import col

from evergreet.channels import reached_by
from evergreet.clock import Clock
from evergreet.consent import agreed
from evergreet.contracts import Accepted, Outcome, RepeatableSender
from evergreet.database import Database
from evergreet.errors import Misconfigured, Permanent, Refused, Retryable
from evergreet.feedback.doubts import Heard, accept, refuse
from evergreet.ledger import PROVIDER_ID_LENGTH, expect, storable
from evergreet.resolutions import ASSUMED
from evergreet.settings import Settings
from evergreet.store import among
from models import Attempt, CampaignRow, Contact, Message, StoredRequest, Suppression

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


@dataclass(frozen=True, slots=True)
class Written:
    """A request that is stored: its row, its key, its body, and the places of its messages in the window.

    `shares` are the places of messages that were asked for alone first: see `Remembered.divide`.
    """

    number: int
    key: str
    body: bytes
    places: tuple[int, ...]
    shares: tuple[int, ...] = ()


@dataclass(slots=True)
class Remembered:
    """The requests of one window: written and stored with its intent, handed over after it."""

    sender: RepeatableSender
    rendered: Mapping[int, Any]
    going: dict[int, int] = field(default_factory=dict)
    """Messages and the numbers of their attempts; their places in the window are those here."""
    requests: list[Written] = field(default_factory=list)
    """What is to be handed over next."""
    refused: list[Written] = field(default_factory=list)
    """What was refused as a whole, so that it is to be divided."""
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    ids: list[int] = field(default_factory=list)

    def store(self, connection: Connection, going: Mapping[int, int], now: datetime) -> None:
        """Write the requests for the messages that go, in the transaction of their intent."""
        self.going, self.outcomes, self.refused, self.ids = dict(going), {}, [], []
        self.requests = self._write(connection, range(len(going)), now)

    def divide(self, connection: Connection, now: datetime) -> None:
        """Write smaller requests for what was refused, in a transaction of their owner; the refused ones are deleted.

        The first, the middle and the last message of a large one are asked for alone, before its halves. Where all
        three are refused in the same words, it is about what everybody shares: our fault, and nobody else is asked for.
        """
        refused, self.refused, self.requests = self.refused, [], []
        for request in refused:
            places = request.places
            alone: tuple[int, ...] = ()
            if len(places) > 3 and not request.shares:
                alone = (places[0], places[len(places) // 2], places[-1])
                places = tuple(place for place in places if place not in alone)
            for place in alone:
                self.requests += self._write(connection, (place,), now)
            half = len(places) // 2
            for part in filter(None, (places[:half], places[half:])):
                self.requests += self._write(connection, part, now, alone or request.shares)
        numbers = [request.number for request in refused]
        connection.execute(delete(StoredRequest).where(col(StoredRequest.id).in_(numbers)))

    def _write(
        self, connection: Connection, places: Sequence[int], now: datetime, shares: tuple[int, ...] = ()
    ) -> list[Written]:
        messages = list(self.going)
        prepared, refused = self.sender.prepare([self.rendered[messages[place]] for place in places])
        self.outcomes |= {places[place]: outcome for place, outcome in refused.items()}
        life = self.sender.capabilities.idempotency
        assert life is not None, f"{self.sender.name} hands over requests and does not say how long their keys live"
        written = []
        for request in prepared:
            inside = [messages[places[place]] for place in request.places]
            key = _key(request.body, [(message, self.going[message]) for message in inside])
            number = connection.execute(
                insert(StoredRequest)
                .values(
                    connector=self.sender.name, key=key, body=request.body, messages=inside, at=now, ends_at=now + life
                )
                .returning(col(StoredRequest.id))
            ).scalar_one()
            referring = connection.execute(_REFER, {"messages": inside, "request": number}).rowcount
            expect(referring, len(inside), "Attempts in a stored request")
            there = tuple(places[place] for place in request.places)
            written.append(Written(number, key, request.body, there, shares))
            self.ids.append(number)
        return written

    def hand_over(self, late: Callable[[], Outcome | None]) -> list[Outcome]:
        """Hand the requests over, one after the other; an answer for everybody ends it, and nothing more is begun.

        `late` is asked before each: what it answers stands for all that is not begun. What was refused as a whole
        counts as not accepted unless it is divided and comes here again.
        """
        given_back: Outcome | None = None
        for request in self.requests:
            given_back = given_back or late()
            if given_back is None and (ours := self._is_ours(request.shares)) is not None:
                self.outcomes |= dict.fromkeys(request.shares, ours)
                given_back = ours
            outcomes = [given_back] * len(request.places) if given_back else self._handed(request)
            self.outcomes |= dict(zip(request.places, outcomes, strict=True))
            if request not in self.refused and all(isinstance(each, Retryable | Misconfigured) for each in outcomes):
                given_back = given_back or Retryable("not begun: the request before it was not taken", accepted="no")
        if given_back is not None:  # nobody there: what was refused is not asked for again just now either
            self.refused = []
        return [self.outcomes[place] for place in range(len(self.going))]

    def _handed(self, request: Written) -> list[Outcome]:
        try:
            return _handed(self.sender, request.body, request.key, len(request.places))
        except Refused as refused:
            self.refused.append(request)
            return [Retryable(refused.reason, accepted="no")] * len(request.places)

    def _is_ours(self, shares: Sequence[int]) -> Misconfigured | None:
        """Return what stands for everybody where these were all refused in the same words."""
        told = [self.outcomes[place] for place in shares]
        reasons = {each.reason for each in told if isinstance(each, Permanent)}
        if len(reasons) != 1 or not all(isinstance(each, Permanent) for each in told):
            return None
        return Misconfigured(f"{reasons.pop().rstrip('.')}. It says so of the first, the middle and the last message.")


def _key(body: bytes, attempts: Sequence[tuple[int, int]]) -> str:
    """Name a request: the same for the same attempts only, also after a restore from backup."""
    named = blake2b(body, digest_size=20)
    named.update(repr(attempts).encode())
    return f"evergreet-{named.hexdigest()}"


def _handed(sender: RepeatableSender, body: bytes, key: str, count: int) -> list[Outcome]:
    try:
        outcomes = sender.hand_over(body, key, count)
    except Refused:
        if count == 1:
            return [Permanent(f"{sender.name} refused it")]
        raise
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
            try:
                outcomes = _handed(sender, request.body, request.key, len(request.messages))
            except Refused:  # it says nothing of the first time; so it stays in doubt
                continue
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
            or_(col(Contact.paused_until).is_(None), col(Contact.paused_until) <= now), ~_suppressed(),
            or_(col(Message.purpose) != "marketing", agreed(col(Message.contact_id), col(Message.topic))),
        ),
        {"messages": messages},
    ).scalar_one()  # fmt: skip
    return good == len(messages)


def _suppressed() -> ColumnElement[bool]:
    current = case((col(Message.channel) == "sms", reached_by("sms")), else_=reached_by("email"))
    return exists().where(
        col(Suppression.address).in_((col(Message.address), current)),
        or_(col(Suppression.scope) == "all", col(Message.purpose) == "marketing"),
    )


def _settle(connection: Connection, outcomes: Mapping[int, Outcome], now: datetime) -> int:
    """Write what the answer to a repeat says of messages in doubt; what is still in doubt stays so.

    A refusal counts beside an acceptance only: where nobody was accepted the provider may have refused the repeat as
    such, which says nothing of the first time.
    """
    taken = [
        Heard(message, storable(outcome.provider_id, PROVIDER_ID_LENGTH))
        for message, outcome in outcomes.items()
        if isinstance(outcome, Accepted)
    ]
    resolved = accept(connection, taken, now, "repeated", "the stored request was repeated with its key")
    refused: dict[str, list[Any]] = {}
    for message, outcome in outcomes.items():
        if taken and isinstance(outcome, Permanent):
            refused.setdefault(storable(outcome.reason, 500) or "refused", []).append(message)
    for reason, messages in refused.items():
        resolved += refuse(connection, messages, reason, now)
    return resolved
