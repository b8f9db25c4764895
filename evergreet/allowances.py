"""What a day allows a provider: places are taken with the intents, under a lock, so the limit holds over all workers.

The count of a day is a row. It begins with what the ledger says was sent that day, where the limit is set in the
middle of one; every intent adds to it in its own transaction, and what certainly was not accepted is taken off again.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select, update
from sqlmodel import col

from evergreet.rates import Rate
from evergreet.store import by_index, insert_ignore
from evergreet.wording import moment
from models import CampaignRow, Message, ProviderDay


def day_of(moment: datetime, zone: str) -> date:
    """Return the day that a moment is in where the limits are counted."""
    return moment.astimezone(ZoneInfo(zone)).date()


def end_of(day: date, zone: str) -> datetime:
    """Return the moment at which the next day begins."""
    return datetime.combine(day + timedelta(days=1), time(), ZoneInfo(zone))


def enough(connection: Connection, rates: Mapping[str, Rate], now: datetime, zone: str) -> dict[str, str]:
    """Say of those connectors that were given all that today allows how much that is, and when they are given more."""
    day = day_of(now, zone)
    limits = {name: limit for name, rate in rates.items() if (limit := rate.on(day)) is not None}
    if not limits:
        return {}
    given, until = given_on(connection, limits, day), moment(end_of(day, zone).astimezone(UTC))
    return {
        name: f"the {limit:,} messages that {day} allows ({zone}) are given, more at {until}"
        if limit
        else f"{day} allows nothing ({zone})"
        + (f", its warm-up begins on {since}" if (since := rates[name].since) else "")
        for name, limit in limits.items()
        if given.get(name, 0) >= limit
    }


def given_on(connection: Connection, connectors: Collection[str], day: date) -> dict[str, int]:
    """Return how many messages connectors were given on a day, as far as their limits were asked for."""
    rows = select(col(ProviderDay.connector), col(ProviderDay.messages)).where(
        col(ProviderDay.connector).in_(list(connectors)), col(ProviderDay.day) == day.isoformat()
    )
    return dict(connection.execute(rows).tuples().all())


def take(connection: Connection, connector: str, day: date, zone: str, limit: int, wanted: int) -> int:
    """Take up to so many places of a day, and return how many there were."""
    mine = (col(ProviderDay.connector) == connector, col(ProviderDay.day) == day.isoformat())
    known = select(col(ProviderDay.messages)).where(*mine).with_for_update()
    given = connection.execute(known).scalar_one_or_none()
    if given is None:
        begun = _sent_since(connection, connector, end_of(day - timedelta(days=1), zone))
        row = {"connector": connector, "day": day.isoformat(), "messages": begun}
        insert_ignore(connection, ProviderDay, [row])
        given = connection.execute(known).scalar_one()
    taken = min(max(limit - given, 0), wanted)
    if taken:
        connection.execute(update(ProviderDay).where(*mine).values(messages=ProviderDay.messages + taken))
    return taken


def give_back(connection: Connection, connector: str, day: date, messages: int) -> None:
    """Take places off a day again: what they were taken for was certainly not accepted."""
    mine = (col(ProviderDay.connector) == connector, col(ProviderDay.day) == day.isoformat())
    connection.execute(update(ProviderDay).where(*mine).values(messages=ProviderDay.messages - messages))


def _sent_since(connection: Connection, connector: str, since: datetime) -> int:
    """Count what was handed to a connector and was, or may have been, accepted; by the index of each campaign."""
    connection.execute(select(by_index()))
    return connection.execute(
        select(func.count())
        .select_from(Message)
        .where(
            col(Message.campaign_id).in_(select(col(CampaignRow.id))), col(Message.sent_at) >= since,
            col(Message.provider) == connector,
        )
    ).scalar_one()  # fmt: skip
