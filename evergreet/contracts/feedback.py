"""What a provider tells of messages and addresses, by webhook, by mail or when it is asked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from evergreet.contracts.connector import Connector


class Kind(StrEnum):
    """What a provider says has happened to a message.

    A failure that it goes on trying after is `DEFERRED`; `SOFT_BOUNCED` and `BLOCKED` are its last word for a cause
    that may pass (a full mailbox; policy, reputation, content), `HARD_BOUNCED` for one that will not. `DROPPED`: it
    did not even try. `UNKNOWN` is any word that the connector does not know.
    """

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    SOFT_BOUNCED = "soft_bounced"
    HARD_BOUNCED = "hard_bounced"
    BLOCKED = "blocked"
    DROPPED = "dropped"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    GROUP_UNSUBSCRIBED = "group_unsubscribed"
    GROUP_RESUBSCRIBED = "group_resubscribed"
    OPENED = "opened"
    CLICKED = "clicked"
    REPLIED = "replied"
    UNKNOWN = "unknown"


class Verdict(StrEnum):
    """What an event says about the address, beside what it says about the message.

    `INVALID`: the mailbox does not exist; nothing is sent there again. Never the verdict of a failure that may pass.
    `COMPLAINED`: its reader called a message spam; nothing is sent there again. `UNSUBSCRIBED`: from everything that
    is not transactional. `UNSUBSCRIBED_TOPIC`: from messages such as this one.
    """

    NONE = ""
    INVALID = "invalid"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    UNSUBSCRIBED_TOPIC = "unsubscribed_topic"


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """What was posted to `/webhooks/NAME`, not looked at yet. Names of `headers` are in small letters.

    `query` is what followed the `?`, as it was written; empty without one.
    """

    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    query: str = ""


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """One thing that a provider tells of a message, or of an address.

    `id` is the provider's own for this event, or a digest of it: told twice, it is the same. `row` and `key` are what
    came along with the message, 0 and empty where nothing did. `machine`: a proxy or a scanner did it, not a reader.
    `topic` is that of the provider's own list, where it names one that stands for a topic: it is more certain than the
    row's. What a reader wrote comes without a key, and `provider_id` is then that of the message which it answers.
    `reason` names no address. `raw` is what the provider sent, whole.
    """

    id: str
    kind: Kind
    at: datetime
    raw: Mapping[str, Any]
    verdict: Verdict = Verdict.NONE
    address: str = ""
    row: int = 0
    key: str = ""
    provider_id: str = ""
    reason: str = ""
    url: str = ""
    machine: bool = False
    topic: str = ""


@runtime_checkable
class WebhookSource(Connector, Protocol):
    """Is told by its provider what became of messages, at `/webhooks/NAME`."""

    def verify(self, request: WebhookRequest) -> None:
        """Raise `NotGenuine` unless the provider signed exactly this body; nothing in it has been read before.

        In constant time where secrets are compared. Raises `Misconfigured` where the key to verify with is not set, and
        `Retryable` where the provider has it and cannot be asked for it now: the request is then told again.
        """
        ...

    def parse(self, request: WebhookRequest) -> list[ProviderEvent]:
        """Read a request that is genuine; raises `Unreadable` where it is no message of the provider's at all.

        An event word, a reason or a field that is not known never raises.
        """
        ...


@runtime_checkable
class ReportReader(Protocol):
    """Its messages are told of by mails: bounces, complaints, answers; the class reads them, without settings."""

    @property
    def name(self) -> str:
        """The connector's name."""
        ...

    @staticmethod
    def read_report(mail: bytes, received_at: datetime) -> list[ProviderEvent]:
        """Return what a mail tells of messages: a report, or that their reader answered (`REPLIED`, alone).

        Nothing of any other mail. Never raises for what is in it. The mail may be cut off at a size. Nobody vouches for
        it: its events have no `row`, and count only where key and address are those of a message that was sent.
        """
        ...


@dataclass(frozen=True, slots=True)
class Suppressed:
    """An address that a provider does not write to any more: what that says of it, and since when.

    `topic` is the list's where the verdict is `UNSUBSCRIBED_TOPIC`.
    """

    address: str
    verdict: Verdict
    at: datetime
    topic: str = ""


@runtime_checkable
class SuppressionSource(Connector, Protocol):
    """Its provider keeps lists of addresses that it does not write to, and can be asked for them."""

    def suppressions(self, since: datetime | None, until: datetime) -> Iterator[Suppressed]:
        """Return what came onto the lists within that time (None: ever), in whatever order, read as it is asked for.

        What may pass is not among it, nor what is about no topic of ours. The iterator raises typed errors; after a
        `Retryable` it may be asked again and goes on, with what it gave already at the worst.
        """
        ...
