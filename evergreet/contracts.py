"""What a connector author sees: small protocols by capability, frozen values in and out.

A connector implements the protocols it has and declares its `Capabilities` as data. It never retries on
its own, never caps, never reads a database or Prefect: the engine decides (DESIGN §6).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Protocol, Self, TypeAlias, runtime_checkable

from evergreet.errors import Misconfigured, Permanent, Retryable


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a connector can do, as data.

    `batch_limit` is the most messages in one `send`; `window` the default number of messages whose intent
    is written together (DESIGN §5.5); `idempotency` the lifetime of the provider's idempotency key.
    `splits`: messages of one skeleton travel in one request (`EmailMessage.split`), so the engine gives it
    windows of one skeleton.
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


@dataclass(frozen=True, slots=True)
class EmailMessage:
    """One rendered email for one recipient.

    `key` is deterministic per ledger row and attempt-independent; it is the local part of the Message-ID
    and what `Finder.find` is asked for. `template` names the content hash of the template version, so that
    a connector may keep what is equal for all its messages. `headers` are extra headers such as
    `List-Unsubscribe`; their names and values hold no CR or LF (checked by the connector as well). `split`
    says the same content as `subject`, `html` and `text` in another form, where it provably can be split.
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
class EmailSender(Connector, Protocol):
    """Hands rendered emails to a provider."""

    def send(self, batch: Sequence[EmailMessage]) -> list[Outcome]:
        """Return one outcome per message, in order; safe to call from several threads.

        Never raises for what happened to single messages. A typed error that is raised stands for every
        message of the batch; any other exception is read as "may have been accepted".
        """
        ...


@runtime_checkable
class Finder(Connector, Protocol):
    """Answers whether the provider has messages whose outcome we do not know."""

    def find(self, keys: Sequence[str]) -> dict[str, Found]:
        """Return what is certain, by message key; a key that is missing stays unknown."""
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
