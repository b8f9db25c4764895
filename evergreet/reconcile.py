"""Resolve what is unknown: ask the provider, repeat where the step asks for it, else hold it in sight.

Resolutions are written on the row. A row comes back to `planned` only where the provider is certain that it
has nothing, or where a step or a person asked for a repeat, and each repeat is an attempt of its own.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, literal, null, or_, select, update
from sqlmodel import col

from evergreet.campaigns import STOPPED, Version, record, required
from evergreet.channels import AnySender
from evergreet.clock import Clock
from evergreet.composing import message_key
from evergreet.contracts import Finder, RepeatableSender
from evergreet.database import Database
from evergreet.errors import EvergreetError
from evergreet.feedback.applying import apply_waiting, count_set_aside
from evergreet.feedback.doubts import accept_what_was_told_before
from evergreet.feedback.placing import UNKNOWN, place_later
from evergreet.ledger import PROVIDER_ID_LENGTH, storable
from evergreet.merging.names import names_of
from evergreet.repeats import repeat
from evergreet.resolutions import ASSUMED
from evergreet.settings import Settings
from evergreet.store import words
from evergreet.tally import add_to_tally, recount
from evergreet.tokens import Tokens
from evergreet.worker import Worker
from models import Attempt, CampaignRow, CampaignVersion, Contact, Instant, Message, StoredRequest

BATCH = 500
HELD = "held_after_restore"
ENDED = words("stopped", "archived")


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How unknown rows were resolved, by resolution, and how many are still unknown.

    `set_aside` are events of providers that could not be applied.
    """

    resolved: dict[str, int] = field(default_factory=dict)
    unknown: int = 0
    set_aside: int = 0


def reconcile(
    database: Database, sender: AnySender, settings: Settings, clock: Clock, *, also: Sequence[AnySender] = ()
) -> Reconciled:
    """Resolve what can be resolved for all campaigns, by these senders; each is asked for what it was given.

    In this order: by what was told, by asking, by an identical repeat while its key lives, by the steps' own opt-in.
    What dead workers had in hand is unknown before anything is looked at.
    """
    with Worker.open(database, clock, silence_seconds=settings.owner_silence_seconds):
        pass
    resolved: Counter[str] = Counter({"webhook": _listen(database, settings, clock)})
    senders, absent = (sender, *also), Counter[int]()
    for each in senders:
        if isinstance(each, Finder):
            beside = sum(other.capabilities.channel == each.capabilities.channel for other in senders)
            resolved += _find(database, each, settings, clock, beside, absent)
        if isinstance(each, RepeatableSender):
            resolved["repeated"] += repeat(database, each, settings, clock)
    resolved["resend"] += _resend(database, clock)
    with database.read() as connection:
        unknown = connection.execute(
            select(func.count()).where(UNKNOWN, col(Message.resolution).is_distinct_from(ASSUMED))
        ).scalar_one()
        set_aside = count_set_aside(connection)
    return Reconciled({name: count for name, count in resolved.items() if count}, unknown, set_aside)


def given_to(connection: Connection) -> set[str]:
    """Return the connectors that have something in doubt: unknown messages, or requests that may be repeated."""
    unknown = select(col(Message.provider)).where(UNKNOWN, col(Message.resolution).is_distinct_from(ASSUMED)).distinct()
    stored = select(col(StoredRequest.connector)).distinct()
    return {name for query in (unknown, stored) for name in connection.execute(query).scalars() if name}


def _find(
    database: Database, finder: Finder, settings: Settings, clock: Clock, senders: int, absent: Counter[int]
) -> Counter[str]:
    """Resolve unknown rows by asking the provider for them.

    Where nobody knows which of several `senders` may have a row, it is not found only once all of them say so: `absent`
    counts that.
    """
    resolved: Counter[str] = Counter()
    after = 0
    while rows := _in_doubt(database, finder, settings, clock, after, alone=senders == 1):
        after = rows[-1].id
        with database.read() as connection:
            names = names_of(connection, {row.contact_id for row in rows})
        keys = {row.id: _keys(row, names) for row in rows}
        told = finder.find([key for row in rows for key in keys[row.id]])
        with database.write() as connection:
            now = clock.now(connection)
            for row in rows:
                answers = [told.get(key) for key in keys[row.id]]
                taken = next((answer for answer in answers if answer is not None and answer.accepted), None)
                if taken is not None:
                    resolved["found"] += _accept(connection, row, taken.provider_id, now)
                    continue
                if None in answers:
                    continue
                absent[row.id] += 1
                if absent[row.id] == senders or not row.anywhere:
                    which = (col(Message.id) == row.id) & (col(Message.attempts) == row.attempts)
                    resolved["not_found"] += _give_back(connection, which, "not_found", now)
    return resolved


def _listen(database: Database, settings: Settings, clock: Clock) -> int:
    """Resolve unknown rows that a provider's webhook told of: now, or before they came into doubt."""
    with database.write() as connection:
        place_later(connection)
    resolved = apply_waiting(database, Tokens(settings.signing_keys), clock, set_aside=True).resolved
    with database.write() as connection:
        return resolved + accept_what_was_told_before(connection, clock.now(connection))


def _in_doubt(
    database: Database, finder: Finder, settings: Settings, clock: Clock, after: int, *, alone: bool
) -> Sequence[Any]:
    """Read unknown rows that this provider was given, once the hand-over's deadline is well past.

    Where it is not `alone`, also those that it may have been given: after a restore nobody knows.
    """
    anywhere: ColumnElement[bool] = col(Message.provider).is_(None)
    if not alone:
        anywhere = or_(anywhere, col(Message.reason) == HELD)
    with database.read() as connection:
        settled = clock.now(connection) - timedelta(seconds=2 * settings.hand_over_seconds)
        return connection.execute(
            select(
                col(Message.id), col(Message.contact_id), col(Message.occurrence), col(Message.step_key),
                col(Message.attempts), col(Message.campaign_id), col(CampaignRow.name).label("campaign"),
                col(Contact.source), col(Contact.source_id), anywhere.label("anywhere"),
            )
            .join(CampaignRow, col(CampaignRow.id) == col(Message.campaign_id))
            .join(Contact, col(Contact.id) == col(Message.contact_id))
            .where(
                UNKNOWN, col(Message.id) > after, or_(col(Message.provider) == finder.name, anywhere),
                col(Message.channel) == finder.capabilities.channel,
                col(Message.resolution).is_distinct_from(ASSUMED),
                col(Message.sent_at) <= settled,
            )
            .order_by(col(Message.id))
            .limit(BATCH)
        ).all()  # fmt: skip


def _keys(row: Any, names: Mapping[int, Collection[str]]) -> list[str]:
    """Return the key of a message, and those that it may have under the names of who was merged with its contact."""
    known = {f"{row.source}:{row.source_id}", *names.get(row.contact_id, ())}
    return [message_key(row.campaign, row.step_key, row.occurrence, name) for name in sorted(known)]


def _accept(connection: Connection, row: Any, provider_id: str, now: datetime) -> int:
    found = connection.execute(
        update(Message)
        .where(col(Message.id) == row.id, UNKNOWN, col(Message.attempts) == row.attempts)
        .values(
            state="accepted", reason="", provider_id=storable(provider_id, PROVIDER_ID_LENGTH), unknown_since=None,
            resolution="found", changed_at=now,
        )
    ).rowcount  # fmt: skip
    if found:
        add_to_tally(connection, row.campaign_id, {("accepted", ""): found})
        connection.execute(  # a row held after a restore may have no attempt that stands for what was found
            update(Attempt)
            .where(
                col(Attempt.message_id) == row.id, col(Attempt.number) == row.attempts,
                col(Attempt.outcome) == "unknown",
            )
            .values(outcome="accepted", detail="found by asking the provider")
        )  # fmt: skip
    return found


def _give_back(connection: Connection, which: ColumnElement[bool], resolution: str, now: datetime) -> int:
    """Plan unknown rows again, in a stopped campaign skip them: nobody would come back for them.

    `which` has to say as well that they are still the ones that were judged: by their attempts.
    """
    _hold_states(connection)
    stopped = col(Message.campaign_id).in_(select(col(CampaignRow.id)).where(col(CampaignRow.state).in_(ENDED)))
    given = list(
        connection.execute(
            update(Message)
            .where(
                which, UNKNOWN,
                col(Message.resolution).is_distinct_from(ASSUMED),
            )
            .values(
                state=case((stopped, "skipped"), else_="planned"), resolution=resolution, chunk_id=None, changed_at=now,
                reason=case((stopped, STOPPED), else_=""), sent_at=None, unknown_since=None,
                not_before=case((stopped, null()), else_=literal(now, Instant())),
            )
            .returning(col(Message.id), col(Message.campaign_id), col(Message.state))
        )
    )  # fmt: skip
    for (campaign, state), count in Counter((row.campaign_id, row.state) for row in given).items():
        add_to_tally(connection, campaign, {(state, STOPPED): count})
    if given and resolution == "not_found":
        connection.execute(
            update(Attempt)
            .where(col(Attempt.message_id).in_([row.id for row in given]), col(Attempt.outcome) == "unknown")
            .values(outcome="returned", detail="the provider does not have it")
        )
    return len(given)


def _hold_states(connection: Connection) -> None:
    """Let no campaign be stopped until the end of this transaction: a stop would not see what we plan."""
    connection.execute(select(col(CampaignRow.id)).order_by(col(CampaignRow.id)).with_for_update(read=True))


def _resend(database: Database, clock: Clock) -> int:
    """Repeat unknown messages of steps that opted in with `resend_after`; once per message.

    Attempts that were certainly refused before the one that is in doubt were no repeats.
    """
    doubts = select(func.count()).where(col(Attempt.message_id) == col(Message.id), col(Attempt.outcome) == "unknown")
    count = 0
    with database.write() as connection:
        now = clock.now(connection)
        for row in connection.execute(
            select(CampaignVersion)
            .join(CampaignRow, col(CampaignRow.id) == col(CampaignVersion.campaign_id))
            .where(col(CampaignRow.state) == "live")
        ).all():
            version = Version.read(row)
            for step in version.campaign.steps:
                if step.resend_after is not None:
                    which = (
                        (col(Message.campaign_id) == version.campaign_id)
                        & (col(Message.version_id) == version.id)
                        & (col(Message.step_key) == step.key)
                        & (col(Message.sent_at) <= now - step.resend_after.span)
                        & (doubts.correlate(Message).scalar_subquery() == 1)
                    )
                    count += _give_back(connection, which, "resend", now)
    return count


def assume_sent(database: Database, name: str, *, clock: Clock, actor: str, confirm: int | None) -> int:
    """Mark a campaign's unknown rows as assumed sent: they stay unknown and are never repeated.

    Without `confirm` only counts; with it the count must be the same.
    """
    with database.write() as connection:
        state = required(connection, name)
        which = (col(Message.campaign_id) == state.id) & UNKNOWN & col(Message.resolution).is_distinct_from(ASSUMED)
        count = _count(connection, which)
        if not confirmed(count, confirm, "unknown messages"):
            return count
        now = clock.now(connection)
        connection.execute(update(Message).where(which).values(resolution=ASSUMED, changed_at=now))
        record(connection, now, actor, "assume sent", name, messages=count)
        return count


def retry(database: Database, name: str, state_name: str, *, clock: Clock, actor: str, confirm: int | None) -> int:
    """Plan a campaign's failed or unknown messages again, on a person's word; each repeat is an attempt more.

    Those that were assumed sent are not among them, and a campaign that has ended sends nothing more.
    Without `confirm` only counts; with it the count must be the same.
    """
    if state_name not in {"failed", "unknown"}:
        raise EvergreetError(f"--state {state_name}: only failed and unknown messages can be tried again.")
    with database.write() as connection:
        _hold_states(connection)
        state = required(connection, name)
        if state.state in {"stopped", "archived"}:
            raise EvergreetError(
                f"Campaign {name!r} is {state.state} and sends nothing more; run `evergreet launch {name}` first."
            )
        which = (
            (col(Message.campaign_id) == state.id)
            & (UNKNOWN if state_name == "unknown" else col(Message.state) == state_name)
            & col(Message.resolution).is_distinct_from(ASSUMED)
        )
        count = _count(connection, which)
        if not confirmed(count, confirm, f"{state_name} messages"):
            return count
        now = clock.now(connection)
        connection.execute(
            update(Message)
            .where(which)
            .values(
                state="planned", reason="", resolution="retried", deaths=0, sent_at=None, unknown_since=None,
                not_before=now, changed_at=now,
            )
        )  # fmt: skip
        recount(connection, state.id)
        record(connection, now, actor, f"retry {state_name}", name, messages=count)
        return count


def hold(database: Database, since: datetime, *, clock: Clock, actor: str) -> int:
    """After a restore: mark as unknown whatever was due from `since` until now and is not settled; return how many.

    The backup does not know what was sent after it was made. Pending and deferred rows whose time has come
    become unknown now; those that are planned later for a moment in the span are unknown from the start.
    """
    with database.write() as connection:
        now = clock.now(connection)
        if since >= now:
            raise EvergreetError(f"--since {since:%Y-%m-%d %H:%M} UTC lies in the future; give the time of the backup.")
        connection.execute(update(CampaignRow).values(held_since=since, held_until=now))
        due = func.coalesce(col(Message.not_before), col(Message.due_at)) <= now
        doubtful = connection.execute(
            update(Message)
            .where(col(Message.state).in_(("planned", "deferred", "sending")), due)
            .values(
                state="unknown", reason=HELD, chunk_id=None, not_before=None, sent_at=now,
                unknown_since=now, changed_at=now,
                # One that was given back knows where it went last: somebody else may have got it there since.
                address=case((col(Message.state) == "sending", col(Message.address)), else_=null()),
            )
        ).rowcount  # fmt: skip
        connection.execute(
            update(Attempt)
            .where(col(Attempt.outcome) == "")
            .values(outcome="unknown", detail="held after restore", settled_at=now)
        )
        record(connection, now, actor, "hold", "all campaigns", since=since.isoformat(), messages=doubtful)
        return doubtful


def _count(connection: Connection, which: ColumnElement[bool]) -> int:
    return connection.execute(select(func.count()).select_from(Message).where(which)).scalar_one()


def confirmed(count: int, confirm: int | None, what: str) -> bool:
    """Whether a person confirmed this count; another count than they saw is refused."""
    if confirm is None:
        return False
    if confirm != count:
        raise EvergreetError(f"There are {count} {what}, not {confirm}: nothing was changed. Confirm with {count}.")
    return True
