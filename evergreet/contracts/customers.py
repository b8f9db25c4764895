"""What shops and tills tell of their customers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from evergreet.contracts.connector import Connector
from evergreet.contracts.feedback import WebhookRequest


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


class Wish(StrEnum):
    """What a customer asks about what is known of them: to be forgotten, or to be told of it."""

    NONE = ""
    FORGET = "forget"
    TELL = "tell"


@dataclass(frozen=True, slots=True)
class CustomerEvent:
    """Something that a customer did, under a name of docs/vocabulary.md.

    `id` names the fact and not the message that tells it: told twice, or in two ways, it is one event. Without a `name`
    nothing happened, and only the customer is told; with a `wish` what they ask is done, and nothing else. No address
    of a person stands in `properties`. `like` is the id of an earlier event of the same source, whose contact is meant
    where the customer has neither id nor address.
    """

    id: str
    name: str
    at: datetime
    customer: Customer
    properties: Mapping[str, Any] = field(default_factory=dict)
    like: str = ""
    wish: Wish = Wish.NONE


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
