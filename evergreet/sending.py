"""Opening the connectors that the settings name for each channel."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from evergreet.allowances import day_of, enough, given_on
from evergreet.breakers import read_breakers
from evergreet.channels import SETTINGS, AnySender, Channel
from evergreet.clock import Clock
from evergreet.contracts import CrmSink, EmailSender, RateLimiter, Sender
from evergreet.database import Database
from evergreet.errors import ConfigurationError
from evergreet.rates import FREE, Rate, Unlimited, pace_of, read_rates
from evergreet.reconcile import given_to
from evergreet.registry import open_connector
from evergreet.routing import Named, Provider, Route, read_route
from evergreet.settings import settings

LOG = logging.getLogger("evergreet.sending")
WORDS: Mapping[Channel, str] = {
    "email": "send email",
    "sms": "send SMS",
    "webhook": "post webhooks",
    "slack": "write notes into Slack",
    "crm": "write tasks and notes into a CRM",
}
"""What the connector of a channel is there to do, as sentences say it."""


@dataclass(frozen=True, slots=True)
class Senders:
    """What sends: email always, and the other channels for which a connector is set."""

    email: Route
    others: tuple[Route, ...] = ()

    @property
    def all(self) -> tuple[AnySender, ...]:
        """The connectors of all channels."""
        return tuple(sender for route in (self.email, *self.others) for sender in route.senders)


def connectors_in_use() -> dict[Channel, tuple[Named, ...]]:
    """Return the connectors that the settings name, in order, by the channel that they send."""
    return {channel: read_route(written) for channel, written in _written().items()}


def rates_in_use() -> dict[str, Rate]:
    """Return the rates that the settings give to connectors that send, by name; one of nobody is a mistake."""
    rates = read_rates(settings().rates)
    known = {one.name for named in connectors_in_use().values() for one in named}
    if strangers := [name for name in rates if name not in known]:
        raise ConfigurationError(
            f"EVERGREET_RATES: {strangers[0]!r} is none of the connectors that send ({', '.join(sorted(known))})."
        )
    return rates


def _written() -> dict[Channel, str]:
    written = {channel: getattr(settings(), setting) for channel, setting in SETTINGS.items()}
    return {channel: one for channel, one in written.items() if one is not None}


@dataclass(frozen=True, slots=True)
class Standing:
    """How a connector of the settings stands: its share of the messages, and in `out` why it is not asked now."""

    name: str
    channel: str
    share: str
    out: str | None
    given: int | None
    """Messages today, where a day has a limit."""
    limit: int | None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)


def standings(database: Database, clock: Clock) -> list[Standing]:
    """Say how the connectors that the settings name stand, in their order."""
    rates, zone = rates_in_use(), settings().default_timezone
    with database.read() as connection:
        now = clock.now(connection)
        known = enough(connection, rates, now, zone)
        known |= {name: one.sentence for name, one in read_breakers(connection).items() if one.out}
        limits = {name: rate.on(day_of(now, zone)) for name, rate in rates.items()}
        given = given_on(connection, [name for name in limits if limits[name] is not None], day_of(now, zone))
    standing = []
    for channel, named in connectors_in_use().items():
        for one in named:
            share = str(one.weight or ("first" if one is named[0] else "stands by"))
            limit = limits.get(one.name)
            today = None if limit is None else given.get(one.name, 0)
            standing.append(Standing(one.name, channel, share, known.get(one.name), today, limit))
            peers = sorted(peer for peer in known if peer.startswith(f"{one.name}:"))  # its destinations that are out
            standing += [Standing(peer, channel, share, known[peer], None, None) for peer in peers]
    return standing


def held(standing: Iterable[Standing]) -> dict[tuple[str, str], str]:
    """Say by what nothing goes now, and why: a channel with "", each of whose providers is out, or its destination."""
    providers: dict[str, list[Standing]] = {}
    found = {}
    for one in standing:
        destination = one.name.partition(":")[2]
        if destination:
            found[one.channel, destination] = f"{one.name} cannot be asked: {one.out}"
        else:
            providers.setdefault(one.channel, []).append(one)
    for channel, named in providers.items():
        if all(one.out for one in named):
            found[channel, ""] = "; ".join(f"{one.name} cannot be asked: {one.out}" for one in named)
    return found


@contextmanager
def opened_senders(limiters: Mapping[str, RateLimiter] | None = None) -> Iterator[Senders]:
    """Open the connectors that send, each with its limiter (by name); closed at the end."""
    with ExitStack() as opened:
        rates = rates_in_use()
        routes = [
            _opened_route(opened, channel, named, rates, limiters or {})
            for channel, named in connectors_in_use().items()
        ]
        email, *others = routes
        yield Senders(email, tuple(others))


@contextmanager
def opened_others() -> Iterator[dict[str, AnySender]]:
    """Open the connectors that send something else than email, by channel, of several the first; closed at the end."""
    with ExitStack() as opened:
        others = [channel for channel in connectors_in_use() if channel != "email"]
        yield {channel: opened.enter_context(opened_sender(channel)) for channel in others}


@contextmanager
def opened_sender(channel: Channel) -> Iterator[AnySender]:
    """Open the connector that sends for a channel, of several the first; closed at the end."""
    named = connectors_in_use().get(channel)
    if named is None:
        raise ConfigurationError(f"{_variable(channel)} is not set: there is no connector to {WORDS[channel]}.")
    with ExitStack() as opened:
        yield _opened(opened, channel, named[0].name)


@contextmanager
def opened_for_doubts(database: Database) -> Iterator[tuple[AnySender, ...]]:
    """Open the connectors that send, and those that messages in doubt were given to before the settings changed."""
    with opened_senders() as senders, ExitStack() as opened:
        known = list(senders.all)
        with database.read() as connection:
            others = given_to(connection) - {sender.name for sender in known}
        for name in sorted(others):
            try:
                found = opened.enter_context(closing(open_connector(name)))
            except ConfigurationError as error:
                LOG.warning("Messages in doubt were given to %s, which cannot be asked. %s", name, error)
                continue
            if isinstance(found, Sender):
                known.append(found)
        yield tuple(known)


def _opened_route(
    opened: ExitStack, channel: Channel, named: Iterable[Named], rates: Mapping[str, Rate],
    limiters: Mapping[str, RateLimiter],
) -> Route:  # fmt: skip
    providers = []
    for one in named:
        rate = rates.get(one.name, FREE)
        local = Unlimited() if rate.per_second is None else pace_of(one.name, rate.per_second)
        sender = _opened(opened, channel, one.name)
        providers.append(Provider(sender, one.weight, limiters.get(one.name, local), rate))
    return Route(tuple(providers))


def _opened(opened: ExitStack, channel: Channel, name: str) -> AnySender:
    sender = opened.enter_context(closing(open_connector(name)))
    able = isinstance(sender, {"email": EmailSender, "crm": CrmSink}.get(channel, Sender))
    if not able or sender.capabilities.channel != channel:
        written = _written()[channel]
        which = "this connector" if written == name else f"the connector {name!r}"
        raise ConfigurationError(f"{_variable(channel)}={written}: {which} does not {WORDS[channel]}.")
    assert isinstance(sender, Sender | CrmSink)
    return sender


def _variable(channel: Channel) -> str:
    return f"EVERGREET_{SETTINGS[channel].upper()}"
