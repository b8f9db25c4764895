"""What is handed to a provider: a rendered message for one recipient, or about one contact."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Self


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
class WebhookMessage:
    """What is posted to the webhook called `to` in the connector's settings: `body` is JSON, to be sent as it is.

    `key` is the same for every attempt, so that a receiver can tell a repeat; `template` and `row` are as in
    `EmailMessage`.
    """

    key: str
    to: str
    body: str
    template: str = ""
    row: int = 0


@dataclass(frozen=True, slots=True)
class SlackNote:
    """A note for the Slack channel called `to` in the connector's settings; `text` is mrkdwn, its values escaped."""

    key: str
    to: str
    text: str
    template: str = ""
    row: int = 0
