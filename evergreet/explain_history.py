"""Explain one message: its attempts where there was more to it than one, how a doubt ended, what its provider told."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, select
from sqlmodel import col

from evergreet.explain_clock import Line
from evergreet.resolutions import MEANINGS
from models import Attempt, ProviderEvent


def history(connection: Connection, message: Any) -> Iterator[Line]:
    """Tell what happened to a row of the ledger, in the order of time; nothing where it was accepted at once."""
    lines = [*_attempts(connection, message), *_told(connection, message)]
    yield from sorted(lines, key=lambda line: line.at or message.due_at)
    if message.resolution is not None:
        meaning = MEANINGS.get(message.resolution, "")
        yield Line(message.changed_at, f"{message.step_key}: resolved by {message.resolution}", meaning)


def _attempts(connection: Connection, message: Any) -> Iterator[Line]:
    attempts = connection.execute(
        select(Attempt).where(col(Attempt.message_id) == message.id).order_by(col(Attempt.number))
    ).all()
    if [attempt.outcome for attempt in attempts] == ["accepted"] and message.resolution is None:
        return
    for attempt in attempts:
        outcome = attempt.outcome or "in a worker's hands"
        by = f" by {attempt.provider}" if attempt.provider else ""  # an older one does not say
        yield Line(attempt.started_at, f"{message.step_key}, attempt {attempt.number}{by}: {outcome}", attempt.detail)


def _told(connection: Connection, message: Any) -> Iterator[Line]:
    events = connection.execute(
        select(
            col(ProviderEvent.at), col(ProviderEvent.connector), col(ProviderEvent.kind), col(ProviderEvent.reason),
            col(ProviderEvent.machine),
        )
        .where(col(ProviderEvent.message_id) == message.id)
        .order_by(col(ProviderEvent.at), col(ProviderEvent.id))
    )  # fmt: skip
    for event in events:
        what = f"{event.kind.replace('_', ' ')}{' by a machine' if event.machine else ''}"
        yield Line(event.at, f"{message.step_key}: {what}", "; ".join(filter(None, (event.reason, event.connector))))
