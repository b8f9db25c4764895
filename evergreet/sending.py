"""Opening the connectors that the settings name for each channel."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from evergreet.breakers import read_breakers
from evergreet.channels import SETTINGS, AnySender, Channel
from evergreet.contracts import CrmSink, EmailSender, RateLimiter, Sender
from evergreet.database import Database
from evergreet.errors import ConfigurationError
from evergreet.rates import Unlimited
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
    "crm": "give tasks to a CRM",
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

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)


def standings(database: Database) -> list[Standing]:
    """Say how the connectors that the settings name stand, in their order."""
    with database.read() as connection:
        known = {name: one.sentence for name, one in read_breakers(connection).items() if one.out}
    return [
        Standing(
            one.name, channel, str(one.weight or ("first" if one is named[0] else "stands by")), known.get(one.name)
        )
        for channel, named in connectors_in_use().items()
        for one in named
    ]


@contextmanager
def opened_senders(limiters: Mapping[str, RateLimiter] | None = None) -> Iterator[Senders]:
    """Open the connectors that send, each with its limiter (by name); closed at the end."""
    with ExitStack() as opened:
        email, *others = (_opened_route(opened, channel, limiters or {}) for channel in connectors_in_use())
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


def _opened_route(opened: ExitStack, channel: Channel, limiters: Mapping[str, RateLimiter]) -> Route:
    named = connectors_in_use()[channel]
    return Route(
        tuple(
            Provider(_opened(opened, channel, one.name), one.weight, limiters.get(one.name) or Unlimited())
            for one in named
        )
    )


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
