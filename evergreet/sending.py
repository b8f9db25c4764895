"""Opening the connectors that the settings name, one for each channel."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from evergreet.contracts import EmailSender, Sender
from evergreet.errors import ConfigurationError
from evergreet.registry import open_connector
from evergreet.settings import settings

WORDS = {"email": "email", "sms": "SMS"}
"""What a channel sends, as sentences say it."""


@dataclass(frozen=True, slots=True)
class Senders:
    """What sends: email always, and the other channels for which a connector is set."""

    email: EmailSender
    others: tuple[Sender, ...] = ()


def connectors_in_use() -> dict[str, str]:
    """Return the names of the connectors that the settings name, by the channel that each sends."""
    named = {"email": settings().email, "sms": settings().sms}
    return {channel: name for channel, name in named.items() if name is not None}


@contextmanager
def opened_senders() -> Iterator[Senders]:
    """Open the connectors that send; closed at the end."""
    with opened_sender("email") as email, opened_others() as others:
        assert isinstance(email, EmailSender)
        yield Senders(email, tuple(others.values()))


@contextmanager
def opened_others() -> Iterator[dict[str, Sender]]:
    """Open the connectors that send something else than email, by channel; closed at the end."""
    with ExitStack() as opened:
        yield {
            channel: opened.enter_context(opened_sender(channel))
            for channel in connectors_in_use()
            if channel != "email"
        }


@contextmanager
def opened_sender(channel: str) -> Iterator[Sender]:
    """Open the connector that sends for a channel; closed at the end."""
    variable, name = f"EVERGREET_{channel.upper()}", connectors_in_use().get(channel)
    if name is None:
        raise ConfigurationError(f"{variable} is not set: no connector sends {WORDS[channel]}.")
    with closing(open_connector(name)) as sender:
        if not isinstance(sender, Sender) or sender.capabilities.channel != channel:
            raise ConfigurationError(f"{variable}={name}: this connector does not send {WORDS[channel]}.")
        yield sender
