"""The ledger's moves before the network: claim a chunk, decide a window, write the intent.

Each is one transaction on the worker's connection, and so is what follows the network (`evergreet.settling`).
Every intent and settle says which epoch is theirs; another row count than expected means roll back and stop.
Locks are taken in one order everywhere: chunk, campaign, contacts by id, messages. They are of the kind that lets
others refer to the row (`FOR NO KEY UPDATE`), so that an import does not wait for a window, nor a window for it.

The statements of a window stand at the top, built once: to put one together costs more than to send it.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import get_args

from sqlalchemy import Connection, Integer, String, bindparam, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from evergreet.campaigns import State, halt, required
from evergreet.channels import Channel, reached_by
from evergreet.errors import OwnershipLost
from evergreet.gates import Decision, Defer, Go, Rules, Skip, Stale, decide_window
from evergreet.store import among, among_found, by_index, checked, given, paired
from evergreet.tally import OPEN, add_to_tally, settled_messages, tidy
from evergreet.worker import Worker, leave_in_doubt
from models import Attempt, CampaignRow, Chunk, Contact, Instant, Message
from models.base import Id

REASON_LENGTH = 500
PROVIDER_ID_LENGTH = 998
NOBODY_LEFT = "no_provider"
DAY_IS_FULL = "provider_limit"
INTENT_TRIES = 10
"""How often a window is decided anew because another worker has just sent to the same address."""

OWNED = (
    select(col(Chunk.id), by_index())
    .where(
        col(Chunk.id) == bindparam("chunk"), col(Chunk.owner_id) == bindparam("worker"),
        col(Chunk.epoch) == bindparam("mine"),
    )
    .with_for_update(key_share=True)
)  # fmt: skip
CAMPAIGN_STATE = (
    select(col(CampaignRow.state))
    .join(Chunk, col(Chunk.campaign_id) == col(CampaignRow.id))
    .where(col(Chunk.id) == bindparam("chunk"))
    .with_for_update(read=True, of=CampaignRow)
)
CONTACTS = (
    select(col(Contact.id))
    .where(among(Contact.id, "contacts"))
    .order_by(col(Contact.id))
    .with_for_update(key_share=True)
)
STILL_OURS = checked(col(Message.state) == "planned", col(Message.chunk_id) == bindparam("chunk"))
"""What must be so of each message of a window."""

ENDED = given("ended", message=Id, becomes=String(), why=String(), until=Instant())
WRITE_ENDED = (
    update(Message)
    .where(paired(Message.id, ENDED.c.message, "messages"), STILL_OURS)
    .values(
        state=ENDED.c.becomes, reason=ENDED.c.why, not_before=ENDED.c.until, chunk_id=None,
        changed_at=bindparam("now", type_=Instant()),
    )
)  # fmt: skip
WRITE_SENDING = {
    channel: update(Message)
    .where(among(Message.id, "messages"), STILL_OURS)
    .values(
        state="sending", reason="", attempts=Message.attempts + 1, not_before=None,
        address=select(reached_by(channel)).where(col(Contact.id) == col(Message.contact_id)).scalar_subquery(),
        provider=bindparam("through"), sent_at=bindparam("now", type_=Instant()),
        changed_at=bindparam("now", type_=Instant()),
    )
    .returning(col(Message.id), col(Message.attempts))
    for channel in get_args(Channel)
}  # fmt: skip
"""The intent, by channel."""
WRITE_ATTEMPTS = insert(Attempt).from_select(
    ["message_id", "number", "run_id", "worker_id", "epoch", "started_at", "outcome", "detail", "provider"],
    select(
        col(Message.id), col(Message.attempts), bindparam("run", type_=Id), bindparam("worker", type_=Id),
        bindparam("mine", type_=Integer()), bindparam("now", type_=Instant()), literal(""), literal(""),
        col(Message.provider),
    ).where(among(Message.id, "messages")),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClaimedChunk:
    """A chunk this worker owns; `careful` when an earlier owner died with it: one message at a time."""

    id: int
    campaign_id: int
    version_id: int
    step_key: str
    epoch: int
    careful: bool


@dataclass(slots=True)
class Intent:
    """What an intent transaction decided for a window."""

    go: dict[int, int] = field(default_factory=dict)
    """Message id → number of the attempt that was written."""
    stale: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


Remember = Callable[[Connection, dict[int, int], datetime], None]

Admit = Callable[[Connection, list[int], datetime], list[int]]
"""Says which of the messages that every gate lets through may go to the provider; the others stay planned."""


class NotLive(Exception):
    """The campaign was paused or stopped, or hit its limit: the window is left as it was."""


def claim(
    worker: Worker, state: State, limit_per_day: int | None, waiting: Collection[str] = ()
) -> ClaimedChunk | None:
    """Take the next free chunk of a live campaign; None when there is none but of steps that are `waiting`.

    With a limit per day, a chunk is claimed only where all its messages, those sent within 24 hours and
    those other workers have claimed stay within it; else the campaign is paused and says why.
    """
    with worker.transaction() as connection:
        now = worker.clock.now(connection)
        row = connection.execute(
            select(col(CampaignRow.state), by_index())
            .where(col(CampaignRow.id) == state.id)
            .with_for_update(key_share=True)
        ).one()
        if row.state != "live":
            return None
        free = (
            select(col(Chunk.id))
            .where(col(Chunk.campaign_id) == state.id, OPEN, col(Chunk.owner_id).is_(None))
            .order_by(col(Chunk.priority), col(Chunk.id))
            .limit(1)
            .with_for_update(skip_locked=True, key_share=True)
        )
        if waiting:
            free = free.where(col(Chunk.step_key).not_in(waiting))
        found = connection.execute(free).scalar_one_or_none()
        if found is None:
            return None
        if (
            limit_per_day is not None
            and (reached := _reached(worker, state.id, found, limit_per_day, now)) > limit_per_day
        ):
            halt(
                connection, required(connection, state.name), now,
                f"limit of {limit_per_day} messages in 24 hours: {reached} would have been sent",
            )  # fmt: skip
            return None
        chunk = connection.execute(
            update(Chunk)
            .where(col(Chunk.id) == found)
            .values(owner_id=worker.id, epoch=Chunk.epoch + 1)
            .returning(col(Chunk.version_id), col(Chunk.step_key), col(Chunk.epoch), col(Chunk.deaths))
        ).one()
        return ClaimedChunk(found, state.id, chunk.version_id, chunk.step_key, chunk.epoch, chunk.deaths > 0)


def _reached(worker: Worker, campaign_id: int, chunk: int, limit: int, now: datetime) -> int:
    """Messages sent within 24 hours, plus all that are planned in claimed chunks and in this one; or more than that.

    Each row is asked only where it is not certain that they are within the limit: since a worker last did so, no more
    can have been sent than were accepted (the tally knows), are in doubt, or are in those chunks.
    """
    connection = worker.connection
    owned = (col(Chunk.owner_id).is_not(None)) | (col(Chunk.id) == chunk)
    claimed = select(col(Chunk.id)).where(col(Chunk.campaign_id) == campaign_id, OPEN, owned)
    accepted, in_doubt, planned, sending = connection.execute(
        select(
            settled_messages(campaign_id, "accepted").scalar_subquery(),
            select(func.count())
            .where(col(Message.campaign_id) == campaign_id, col(Message.unknown_since).is_not(None))
            .scalar_subquery(),
            func.count().filter(col(Message.state) == "planned"),
            func.count().filter(col(Message.state) == "sending"),
        ).where(among_found(Message.chunk_id, claimed))
    ).one()
    if campaign_id in worker.counted:
        at_most = worker.counted[campaign_id] + accepted + in_doubt + sending + planned
        if at_most <= limit:
            return int(at_most)
    sent = connection.execute(
        select(func.count()).where(
            col(Message.campaign_id) == campaign_id, col(Message.sent_at) > now - timedelta(days=1)
        )
    ).scalar_one()
    worker.counted[campaign_id] = sent - int(accepted)
    return int(sent + planned)


def release(worker: Worker, chunk: ClaimedChunk) -> None:
    """Give a chunk back; it is done when nothing of it is left.

    Whoever gives it back has nothing of it in hand. What still stands as being sent is nobody's, which only a fault
    can bring about: it is in doubt, as after a death, and does not keep the chunk open for ever.
    """
    with worker.transaction() as connection:
        own(connection, worker, chunk)
        planned, sending = connection.execute(
            select(
                func.count().filter(col(Message.state) == "planned"),
                func.count().filter(col(Message.state) == "sending"),
            ).where(col(Message.chunk_id) == chunk.id, col(Message.state).in_(("planned", "sending")))
        ).one()
        if sending:
            leave_in_doubt(connection, [chunk.id], "nobody had it in hand any more", worker.clock.now(connection))
        connection.execute(
            update(Chunk)
            .where(col(Chunk.id) == chunk.id)
            .values(owner_id=None, in_hand=None, state="open" if planned else "done")
        )
        tidy(connection, chunk.campaign_id)


def take_in_hand(worker: Worker, chunk: ClaimedChunk, message: int) -> None:
    """Note durably which single message is being worked on, so that a death points at it."""
    with worker.transaction() as connection:
        own(connection, worker, chunk)
        connection.execute(update(Chunk).where(col(Chunk.id) == chunk.id).values(in_hand=message))


def put_off(worker: Worker, chunk: ClaimedChunk, messages: Sequence[int], seconds: int) -> None:
    """Plan messages of a chunk for so many seconds later: nobody that has not refused them can be asked now."""
    with worker.transaction() as connection:
        own(connection, worker, chunk)
        if campaign_state(connection, chunk) != "live":
            return
        now = worker.clock.now(connection)
        ended = [(message, "planned", NOBODY_LEFT, now + timedelta(seconds=seconds)) for message in messages]
        window = {"messages": list(messages), "ended": ended, "chunk": chunk.id, "now": now}
        connection.execute(WRITE_ENDED, window)


def defer_rest(worker: Worker, chunk: ClaimedChunk, until: datetime) -> int:
    """Defer what is left of a chunk until its providers may be given more; return how many messages."""
    with worker.transaction() as connection:
        own(connection, worker, chunk)
        if campaign_state(connection, chunk) != "live":
            return 0
        left = (col(Message.chunk_id) == chunk.id, col(Message.state) == "planned")
        waiting = {"state": "deferred", "reason": DAY_IS_FULL, "not_before": until, "chunk_id": None}
        now = worker.clock.now(connection)
        return connection.execute(update(Message).where(*left).values(**waiting, changed_at=now)).rowcount


def own(connection: Connection, worker: Worker, chunk: ClaimedChunk) -> None:
    """Lock the chunk as its owner in this epoch, or stop."""
    asked = {"chunk": chunk.id, "worker": worker.id, "mine": chunk.epoch}
    owned = connection.execute(OWNED, asked).one_or_none()
    if owned is None:
        raise OwnershipLost(f"Worker {worker.id} no longer owns chunk {chunk.id} (epoch {chunk.epoch}): it stops.")


def campaign_state(connection: Connection, chunk: ClaimedChunk) -> str:
    """Read the state of the chunk's campaign; it stays so until the end of the transaction."""
    return connection.execute(CAMPAIGN_STATE, {"chunk": chunk.id}).scalar_one()


def expect(found: int, expected: int, what: str) -> None:
    """Stop where another number of rows changed than is ours."""
    if found != expected:
        raise OwnershipLost(
            f"{what}: {found} rows instead of {expected}. Somebody else changed them; this worker stops."
        )


def write_intent(
    worker: Worker,
    chunk: ClaimedChunk,
    rules: Rules,
    changed: dict[int, datetime],
    contacts: Sequence[int],
    failures: dict[int, str],
    run_id: int,
    provider: str,
    remember: Remember | None = None,
    admit: Admit | None = None,
) -> Intent:
    """Decide a window under the locks of its contacts and write `sending` with the attempt number, durably.

    `changed` maps message ids to the state of the contact that was rendered; `failures` are those of them that
    could not be rendered, with the reason: it counts only where every gate lets the message through. In the same
    transaction `admit` is asked which of the others may go to this provider, and `remember` told with which attempt.
    """
    window = (worker, chunk, rules, changed, contacts, failures, run_id, provider, remember, admit)
    for _ in range(INTENT_TRIES - 1):
        with suppress(IntegrityError):  # another worker has just sent to one of the addresses: now the gate sees it
            return _write_intent(*window)
    return _write_intent(*window)


def _write_intent(
    worker: Worker,
    chunk: ClaimedChunk,
    rules: Rules,
    changed: dict[int, datetime],
    contacts: Sequence[int],
    failures: dict[int, str],
    run_id: int,
    provider: str,
    remember: Remember | None,
    admit: Admit | None,
) -> Intent:
    with worker.transaction() as connection:
        own(connection, worker, chunk)
        if (state := campaign_state(connection, chunk)) != "live":
            raise NotLive(state)
        connection.execute(CONTACTS, {"contacts": contacts})
        now = worker.clock.now(connection)
        rendered = [message for message in changed if message not in failures]
        decisions = decide_window(connection, rules, rendered, changed, now) if rendered else {}
        if failures:
            decisions |= decide_window(connection, rules, list(failures), changed, now)
        intent = Intent()
        go, ended = [], []
        for message, decision in decisions.items():
            if isinstance(decision, Stale):
                intent.stale.append(message)
            elif isinstance(decision, Go) and message not in failures:
                go.append(message)
            else:
                ended.append((message, *_ending(decision, failures.get(message, ""))))
        if ended:
            window = {"messages": [row[0] for row in ended], "ended": ended, "chunk": chunk.id, "now": now}
            found = connection.execute(WRITE_ENDED, window).rowcount
            expect(found, len(ended), "Writing decisions")
            intent.counts.update(becomes for _, becomes, _, _ in ended)
            add_to_tally(connection, chunk.campaign_id, Counter((becomes, why) for _, becomes, why, _ in ended))
        if go and admit is not None:
            go = admit(connection, go, now)
        if go:
            numbers = _write_sending(connection, worker, chunk, rules.step.channel, go, run_id, provider, now)
            intent.go = {message: numbers[message] for message in go}
            if remember is not None:
                remember(connection, intent.go, now)
        return intent


def _ending(decision: Decision, failure: str) -> tuple[str, str, datetime | None]:
    """Return the state, the reason and when to ask again of a message that is not sent now."""
    if isinstance(decision, Skip):
        return "skipped", decision.reason, None
    if isinstance(decision, Defer):
        return "deferred", decision.reason, decision.until
    return "failed", storable(failure, REASON_LENGTH), None


def _write_sending(
    connection: Connection,
    worker: Worker,
    chunk: ClaimedChunk,
    channel: str,
    go: list[int],
    run_id: int,
    provider: str,
    now: datetime,
) -> dict[int, int]:
    """Write the intents; return the number of the attempt of each message."""
    sending = {"messages": go, "chunk": chunk.id, "through": provider, "now": now}
    numbers = dict(connection.execute(WRITE_SENDING[channel], sending).tuples().all())
    expect(len(numbers), len(go), "Writing an intent")
    attempts = {"messages": go, "run": run_id, "worker": worker.id, "mine": chunk.epoch, "now": now}
    found = connection.execute(WRITE_ATTEMPTS, attempts, execution_options={"preserve_rowcount": True}).rowcount
    expect(found, len(go), "Writing the attempts of an intent")
    return numbers


def storable(told: str, length: int) -> str:
    """What a provider said, as far as either store takes it: what was accepted must not fail for its wording."""
    kept = told.encode("utf-8", "replace").decode().replace("\x00", "")[:length]
    return kept or ("(unreadable)" if told else "")
