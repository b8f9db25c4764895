"""Handing messages to a provider, and asking it for those whose fate is not known."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from evergreet.contracts.connector import Connector
from evergreet.contracts.messages import EmailMessage, SlackNote, SmsMessage, WebhookMessage
from evergreet.errors import Misconfigured, Permanent, Retryable


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took responsibility for the message; `provider_id` is its name for it."""

    provider_id: str


Outcome: TypeAlias = Accepted | Retryable | Permanent | Misconfigured
"""What became of one message; errors are values here."""


@runtime_checkable
class Sender(Connector, Protocol):
    """Hands messages to a provider: those of its channel, which its `Capabilities` name."""

    def send(self, batch: Sequence[Any]) -> list[Outcome]:
        """Return one outcome per message, in order, as `EmailSender` and `SmsSender` do."""
        ...


@runtime_checkable
class EmailSender(Connector, Protocol):
    """Hands rendered emails to a provider."""

    def send(self, batch: Sequence[EmailMessage]) -> list[Outcome]:
        """Return one outcome per message, in order; safe to call from several threads.

        Never raises for what happened to single messages. A typed error that is raised stands for every
        message of the batch; any other exception is read as "may have been accepted".
        """
        ...


@runtime_checkable
class SmsSender(Connector, Protocol):
    """Hands rendered SMS to a provider; its capabilities say `channel="sms"`."""

    def send(self, batch: Sequence[SmsMessage]) -> list[Outcome]:
        """Return one outcome per message, in order; what `EmailSender.send` promises holds here as well."""
        ...


@runtime_checkable
class HasDestinations(Sender, Protocol):
    """Sends to places that its settings name, and not to contacts."""

    @property
    def destinations(self) -> Collection[str]:
        """Return their names, as steps say them: `EVERGREET_<NAME>_TO__…` sets them."""
        ...


@runtime_checkable
class WebhookSender(HasDestinations, Protocol):
    """Posts what campaigns tell other systems; its capabilities say `channel="webhook"`."""

    def send(self, batch: Sequence[WebhookMessage]) -> list[Outcome]:
        """Return one outcome per message, in order; what `EmailSender.send` promises holds here as well."""
        ...


@runtime_checkable
class SlackSender(HasDestinations, Protocol):
    """Writes notes into Slack channels; its capabilities say `channel="slack"`."""

    def send(self, batch: Sequence[SlackNote]) -> list[Outcome]:
        """Return one outcome per note, in order; what `EmailSender.send` promises holds here as well."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it goes over the wire: `places` are those of its messages in the batch, in its own order."""

    body: bytes
    places: tuple[int, ...]


@runtime_checkable
class RepeatableSender(EmailSender, Protocol):
    """Hands over requests that may be repeated: its provider does what comes with one key once.

    `Capabilities.idempotency` says for how long. The engine stores a request with the intent, so that it can be
    repeated as it was, octet by octet, when its fate is unknown.
    """

    def prepare(self, batch: Sequence[EmailMessage]) -> tuple[list[Request], dict[int, Outcome]]:
        """Return the requests that carry the batch, and by place the outcomes of messages that cannot be sent.

        Touches no network.
        """
        ...

    def hand_over(self, body: bytes, key: str, count: int) -> list[Outcome]:
        """Hand over a request for so many messages, for the first time or again, with its key.

        Returns one outcome per message; raises as `send` does, and `Refused` where the answer names nobody of several.
        """
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """An answer of `Finder.find`: the provider has the message, or is certain that it does not."""

    accepted: bool
    provider_id: str = ""


@runtime_checkable
class Finder(Connector, Protocol):
    """Answers whether the provider has messages whose outcome we do not know."""

    def find(self, keys: Sequence[str]) -> dict[str, Found]:
        """Return what is certain, by message key; a key that is missing stays unknown."""
        ...
