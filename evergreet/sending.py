"""Opening the connectors that the settings name, one for each channel."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from evergreet.contracts import EmailSender, Sender, SmsSender
from evergreet.errors import ConfigurationError
from evergreet.registry import open_connector
from evergreet.settings import settings


@dataclass(frozen=True, slots=True)
class Senders:
    """What sends: email always, SMS where EVERGREET_SMS names a connector."""

    email: EmailSender
    sms: SmsSender | None = None

    @property
    def others(self) -> tuple[Sender, ...]:
        """Those beside email."""
        return () if self.sms is None else (self.sms,)


@contextmanager
def opened_senders() -> Iterator[Senders]:
    """Open the connectors that send; closed at the end."""
    with ExitStack() as opened:
        email = opened.enter_context(opened_sender("email"))
        sms = opened.enter_context(opened_sender("sms")) if settings().sms else None
        assert isinstance(email, EmailSender)
        assert sms is None or isinstance(sms, SmsSender)
        yield Senders(email, sms)


@contextmanager
def opened_sender(channel: str) -> Iterator[Sender]:
    """Open the connector that sends for a channel; closed at the end."""
    variable, word, name = ("SMS", "SMS", settings().sms) if channel == "sms" else ("EMAIL", "email", settings().email)
    if name is None:
        raise ConfigurationError(f"EVERGREET_{variable} is not set: no connector sends {word}.")
    with closing(open_connector(name)) as sender:
        if not isinstance(sender, Sender) or sender.capabilities.channel != channel:
            raise ConfigurationError(f"EVERGREET_{variable}={name}: this connector does not send {word}.")
        yield sender
