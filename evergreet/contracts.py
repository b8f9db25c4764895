"""What a connector author sees: small protocols by capability, frozen values in and out.

A connector implements the protocols it has and declares its `Capabilities` as data. It never retries on
its own, never caps, never reads a database or Prefect: the engine decides (DESIGN §6).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeAlias, runtime_checkable

from evergreet.errors import Misconfigured, Permanent, Retryable


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a connector can do, as data.

    `batch_limit` is the most messages in one `send`; `window` the default number of messages whose intent
    is written together (DESIGN §5.5); `idempotency` the lifetime of the provider's idempotency key.
    `splits`: messages of one skeleton travel in one request (`EmailMessage.split`), so the engine gives it
    windows of one skeleton. `suppressions`: it can be asked whom its provider does not write to any more. `proven_by`
    names what the connector was tried against that its authors did not write.
    """

    channel: str = "email"
    batch_limit: int = 1
    window: int = 1
    connections: int = 1
    idempotency: timedelta | None = None
    splits: bool = False
    sandbox: bool = False
    find: bool = False
    webhooks: bool = False
    suppressions: bool = False
    proven_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One address with its display name; `address` is validated and normalised before it gets here."""

    address: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """What is equal for all messages of one variant of a template: texts, and numbers of slots between them.

    `key` names the content: equal keys mean equal parts. `slots` is how many values a message brings along.
    """

    key: str
    slots: int
    subject: tuple[str | int, ...]
    html: tuple[str | int, ...]
    text: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """A message as a skeleton and its own values: each part, filled in, is the message's part byte for byte."""

    skeleton: Skeleton
    values: tuple[str, ...]

    def part(self, name: Literal["subject", "html", "text"]) -> str:
        """Return a part of the message."""
        values, pieces = self.values, getattr(self.skeleton, name)
        return "".join([values[piece] if type(piece) is int else piece for piece in pieces])


@dataclass(frozen=True, slots=True)
class EmailMessage:
    """One rendered email for one recipient.

    `key` is deterministic per ledger row and attempt-independent; it is the local part of the Message-ID
    and what `Finder.find` is asked for. `row` is the ledger row's id, 0 where there is none: a connector whose
    provider tells of messages later sends both along and gets both back (`ProviderEvent`). `template` names the
    content hash of the template version, so that a connector may keep what is equal for all its messages. `headers`
    are extra headers such as `List-Unsubscribe`; their names and values hold no CR or LF (checked by the connector as
    well). `split` says the same content as `subject`, `html` and `text` in another form, where it provably can be
    split. A message of `EmailMessage.of_split` puts `html` and `text` together when somebody asks for them. `topic` is
    what the reader of a marketing message may unsubscribe from; a message without one is transactional.
    """

    key: str
    to: Mailbox
    sender: Mailbox
    subject: str
    html: str
    text: str
    date: datetime
    template: str = ""
    reply_to: Mailbox | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    split: Split | None = None
    row: int = 0
    topic: str = ""

    @classmethod
    def of_split(
        cls,
        split: Split,
        *,
        key: str,
        to: Mailbox,
        sender: Mailbox,
        subject: str,
        date: datetime,
        template: str = "",
        reply_to: Mailbox | None = None,
        headers: Mapping[str, str],
        row: int = 0,
        topic: str = "",
    ) -> Self:
        """Make a message whose parts are those of its split; in all else it is a message like any other."""
        made = cls.__new__(cls)
        put = object.__setattr__
        put(made, "key", key)
        put(made, "to", to)
        put(made, "sender", sender)
        put(made, "subject", subject)
        put(made, "date", date)
        put(made, "template", template)
        put(made, "reply_to", reply_to)
        put(made, "headers", headers)
        put(made, "split", split)
        put(made, "row", row)
        put(made, "topic", topic)
        return made

    if not TYPE_CHECKING:  # else any name would be taken for an attribute

        def __getattr__(self, name: str) -> str:
            """Put `html` or `text` together; asked only where the attribute is not there."""
            if name not in ("html", "text"):
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
            part = self.split.part(name)
            object.__setattr__(self, name, part)
            return part


@dataclass(frozen=True, slots=True)
class SmsMessage:
    """One rendered SMS for one recipient.

    `to` is the number as E.164. `key`, `row`, `template` and `topic` are as in `EmailMessage`. Whom it comes from, a
    number or a messaging service, the connector's settings say.
    """

    key: str
    to: str
    body: str
    date: datetime
    template: str = ""
    row: int = 0
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took responsibility for the message; `provider_id` is its name for it."""

    provider_id: str


Outcome: TypeAlias = Accepted | Retryable | Permanent | Misconfigured
"""What became of one message; errors are values here."""


@dataclass(frozen=True, slots=True)
class Found:
    """An answer of `Finder.find`: the provider has the message, or is certain that it does not."""

    accepted: bool
    provider_id: str = ""


@runtime_checkable
class Connector(Protocol):
    """What every connector has, whatever it can do.

    `from_environment` reads the connector's own settings (`EVERGREET_<NAME>_…` and `.env`) and raises
    `Misconfigured` with a sentence when one is missing; importing the module reads nothing.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    @classmethod
    def from_environment(cls) -> Self:
        """Build the connector from its settings class."""
        ...

    def check(self) -> str:
        """Make a harmless live call and say in a sentence what was found; raise a typed error otherwise."""
        ...

    def close(self) -> None:
        """Give back connections; a closed connector is not used again."""
        ...


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


@runtime_checkable
class Finder(Connector, Protocol):
    """Answers whether the provider has messages whose outcome we do not know."""

    def find(self, keys: Sequence[str]) -> dict[str, Found]:
        """Return what is certain, by message key; a key that is missing stays unknown."""
        ...


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
    row's. `reason` names no address. `raw` is what the provider sent, whole.
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


@dataclass(frozen=True, slots=True)
class Agreement:
    """What somebody said to being written to about a topic: yes or no, when, and the words they said it to."""

    topic: str
    granted: bool
    at: datetime
    wording: str = ""


@dataclass(frozen=True, slots=True)
class Customer:
    """Whom an outside system tells of: by the id that they have there, by address, or by both.

    `details` is what else it knows, under the names of an import's columns (`phone`, `locale`); all others are
    attributes. They describe a contact that is new and never change one.
    """

    id: str = ""
    email: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    agreement: Agreement | None = None


@dataclass(frozen=True, slots=True)
class CustomerEvent:
    """Something that a customer did, under a name of docs/vocabulary.md.

    `id` names the fact and not the message that tells it: told twice, or in two ways, it is one event. Without a `name`
    nothing happened, and only the customer is told. No address of a person stands in `properties`. `like` is the id of
    an earlier event of the same source, whose contact is meant where the customer has neither id nor address.
    """

    id: str
    name: str
    at: datetime
    customer: Customer
    properties: Mapping[str, Any] = field(default_factory=dict)
    like: str = ""


@runtime_checkable
class EventSource(Connector, Protocol):
    """Is told by a shop or a till what customers do, at `/webhooks/NAME`."""

    def verify(self, request: WebhookRequest) -> None:
        """Raise `NotGenuine` as `WebhookSource.verify` does, and what it raises beside."""
        ...

    def read_events(self, request: WebhookRequest) -> list[CustomerEvent]:
        """Read a request that is genuine; raises `Unreadable` where it is no message of the system's at all.

        A kind of message that says nothing to us yields nothing. A word or a field that is not known never raises.
        """
        ...


@runtime_checkable
class ReportReader(Protocol):
    """Its messages are told of by mails, bounces and complaints; the class itself reads them, without settings."""

    @property
    def name(self) -> str:
        """The connector's name."""
        ...

    @staticmethod
    def read_report(mail: bytes, received_at: datetime) -> list[ProviderEvent]:
        """Return what a mail tells of messages; nothing where it is no report. Never raises for what is in it.

        The mail may be cut off at a size. Nobody vouches for it: its events have no `row`, and count only where key and
        address are those of a message that was sent.
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


class RateLimiter(Protocol):
    """Hands out permission to send; taken once per window."""

    def acquire(self, count: int) -> None:
        """Block until `count` messages may be sent."""
        ...


class Reporter(Protocol):
    """Is told how a run goes along."""

    def progress(self, phase: str, done: int, total: int | None) -> None:
        """Say that `done` of `total` (unknown: None) are through `phase`."""
        ...
