"""What a CRM tells of its contacts, page by page, and what is written back to it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeAlias, runtime_checkable

from evergreet.contracts.connector import Connector
from evergreet.contracts.customers import Agreement
from evergreet.contracts.feedback import WebhookRequest
from evergreet.contracts.sending import Outcome


@dataclass(frozen=True, slots=True)
class CrmContact:
    """A contact as its CRM had it when it was asked.

    `id` and `changed_at` are the CRM's own. `details` is what it knows, under the names of an import's columns
    (`phone`, `locale`, `timezone`, `stage`); all others are attributes, and a value of None says that there is none
    any more. `unsubscribed`: from everything that is not transactional. `merged` are ids of records that the CRM has
    merged into this one. `deleted`: it is gone there, or in the bin; only `id` and `changed_at` count then.
    """

    id: str
    changed_at: datetime
    email: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    agreements: tuple[Agreement, ...] = ()
    unsubscribed: bool = False
    merged: tuple[str, ...] = ()
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class CrmMembers:
    """Who is on a list of the CRM: of the records with ids above `after` and up to `upto` these, and nobody else.

    A list is told in the order of its ids, which are whole numbers; the last part of it is up to None. `list` is what
    it is called here: the attribute that is true of whoever is on it.
    """

    list: str
    members: tuple[int, ...]
    after: int = 0
    upto: int | None = None


@dataclass(frozen=True, slots=True)
class CrmPage:
    """Some contacts that changed, and where to go on.

    `cursor` is the source's own text, at most 1,000 characters; it is stored with the contacts in one transaction,
    and what comes after it is asked for with it, by another process perhaps. `more` is false where nothing else had
    changed when the page was made. `unreadable` are records that cannot be read: id and sentence. `members` are parts
    of lists, where the CRM has such.
    """

    contacts: tuple[CrmContact, ...]
    cursor: str
    more: bool
    unreadable: tuple[tuple[str, str], ...] = ()
    members: tuple[CrmMembers, ...] = ()


@runtime_checkable
class CrmSource(Connector, Protocol):
    """A CRM whose contacts can be read, those that changed first of all."""

    def changed_since(self, cursor: str) -> CrmPage:
        """Return the next page of what has changed after a cursor; the empty one stands for the beginning of time.

        In the order of change, so that a contact which changes while pages are read comes again and none is missed;
        told twice is harmless. A cursor that the CRM does not take any more is a `DataError` that says how to begin
        anew. Raises typed errors.
        """
        ...


@runtime_checkable
class CrmListener(Connector, Protocol):
    """Is told by its CRM which contacts have changed, at `/webhooks/NAME`."""

    def verify(self, request: WebhookRequest) -> None:
        """Raise `NotGenuine` as `WebhookSource.verify` does, and what it raises beside."""
        ...

    def read_changes(self, request: WebhookRequest) -> list[CrmContact]:
        """Return the contacts that a genuine request names, as the CRM has them now, in one bounded call to it.

        What a request says of them is not believed: it may be late. Raises `Unreadable` where it is no message of the
        CRM's at all, and typed errors where the CRM cannot be asked now: it tells again. A word that is not known never
        raises.
        """
        ...


@dataclass(frozen=True, slots=True)
class CrmRecord:
    """Whom something is written to: the CRM's id of the contact, empty where it is not known, and the address."""

    id: str
    email: str = ""


@dataclass(frozen=True, slots=True)
class CrmStage:
    """The contact is in a stage of our lifecycle since then."""

    record: CrmRecord
    stage: str
    since: datetime


@dataclass(frozen=True, slots=True)
class CrmLastMessage:
    """The last message that the contact was sent: which one, by its campaign and step, and when."""

    record: CrmRecord
    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class CrmNote:
    """A note on the contact's timeline. `key` names it for good; where the CRM can, one with that key is made once."""

    record: CrmRecord
    key: str
    title: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class CrmTask:
    """Something for a human to do, such as a call. `key` is as in `CrmNote`."""

    record: CrmRecord
    key: str
    title: str
    text: str
    due_at: datetime


@dataclass(frozen=True, slots=True)
class CrmConsent:
    """What the contact said to messages of a topic; without one, to all that is not transactional."""

    record: CrmRecord
    granted: bool
    at: datetime
    topic: str = ""


Push: TypeAlias = CrmStage | CrmLastMessage | CrmNote | CrmTask | CrmConsent
"""What can be written back to a CRM."""


@runtime_checkable
class CrmSink(Connector, Protocol):
    """A CRM that is written back to."""

    def push(self, batch: Sequence[Push]) -> list[Outcome]:
        """Return one outcome for each, in order; what `EmailSender.send` promises holds here as well.

        A stage, a last message and a consent may be written again with no harm; a note and a task where the CRM knows
        keys. A contact that the CRM does not have is `Permanent` for what is about it, and is not made there.
        """
        ...


@dataclass(frozen=True, slots=True)
class CrmMembership:
    """The contact is to be on the list of that name, or not to be on it; told again it is no harm."""

    record: CrmRecord
    list: str
    member: bool


@runtime_checkable
class HasLists(CrmSink, Protocol):
    """A CRM with lists that people can be put on: its `push` takes a `CrmMembership` as well."""

    @property
    def lists(self) -> Collection[str]:
        """Return their names, as steps say them."""
        ...
