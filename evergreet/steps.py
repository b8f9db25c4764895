"""The steps a campaign is made of: what each sends, when, and by which rules."""

from dataclasses import dataclass, field
from datetime import time
from enum import StrEnum
from typing import ClassVar, Literal, TypeAlias

from evergreet.channels import Channel
from evergreet.conditions import Condition
from evergreet.durations import Amount, Duration, Option, days, hours, number
from evergreet.errors import DefinitionError


class Purpose(StrEnum):
    """Why a message is sent: a transactional one answers something the customer did and needs no consent.

    An internal one goes to our own people or systems, as part of what the campaign does for the contact.
    """

    TRANSACTIONAL = "transactional"
    MARKETING = "marketing"
    INTERNAL = "internal"


TRANSACTIONAL = Purpose.TRANSACTIONAL
MARKETING = Purpose.MARKETING
INTERNAL = Purpose.INTERNAL

OF_EVERY_WEBHOOK = "_base/webhook"
"""The template of a webhook that names none: what the standard recommends, with ids instead of a person's data."""
OF_EVERY_LIST = "_base/list"
"""What a contact's way onto a list is called in previews; a list has no place for words."""


@dataclass(frozen=True, slots=True)
class Local:
    """A time of day where the contact lives."""

    hour: Amount
    minute: Amount = 0

    def __post_init__(self) -> None:
        """Refuse a time that no clock shows."""
        for amount, most in ((self.hour, 23), (self.minute, 59)):
            if not (isinstance(amount, Option) or (isinstance(amount, int) and 0 <= amount <= most)):
                raise DefinitionError(
                    f"local({self.hour!r}, {self.minute!r}): write an hour from 0 to 23, and minutes from 0 to 59 "
                    "after a comma: local(9, 30)."
                )

    @property
    def time(self) -> time:
        """The time of day; options must have been filled in before."""
        return time(number(self.hour), number(self.minute))


@dataclass(frozen=True, slots=True)
class SendWindow:
    """When a step may go: on these weekdays (0 is Monday), from hour `opens` to before hour `closes`, local.

    Outside it a message waits for the next opening where the contact lives; `closes` 24 is midnight.
    """

    weekdays: tuple[int, ...]
    opens: Amount = 0
    closes: Amount = 24

    def __post_init__(self) -> None:
        """Refuse a window that never opens."""
        if not self.weekdays or not set(self.weekdays) <= set(range(7)):
            raise DefinitionError("send_window(…): name weekdays, e.g. send_window('mon-fri', 9, 18).")
        for amount in (self.opens, self.closes):
            if not isinstance(amount, int | Option):
                raise DefinitionError(
                    f"send_window(…, {self.opens!r}, {self.closes!r}): write whole hours; for a window that opens or "
                    "closes at another minute set quiet hours."
                )
        if isinstance(self.opens, int) and isinstance(self.closes, int) and not 0 <= self.opens < self.closes <= 24:
            raise DefinitionError(
                f"send_window(…, {self.opens}, {self.closes}): it opens before it closes, within 0 to 24; "
                "for a window over midnight set quiet hours instead."
            )


@dataclass(frozen=True, slots=True)
class CountedFrom:
    """The latest `event` of the contact whose property `same` has the value that it has in the causing event."""

    event: str
    same: str


@dataclass(frozen=True, slots=True)
class Sending:
    """What a step that sends one message says, whatever its channel.

    Due `after` the triggering moment, at the local time `at` on that day where given (the day counted in
    the contact's zone; a time already past moves to the next day). `unless` looks at events after the
    triggering one. Not sent when more than `lateness` late, for which waiting for a window or for the end of
    quiet hours does not count. `resend_after` opts in to a second attempt of a message whose fate is unknown for
    that long.

    `counted_from` names an event that `after` counts from where it is known when the step would be due, instead
    of the triggering moment: `counted_from=latest("order_delivered", same="order_id")`. `window` says on which
    days and hours it may go.
    """

    channel: ClassVar[Channel]

    key: str
    template: str
    after: Duration = hours(0)
    at: Local | None = None
    unless: Condition | None = None
    purpose: Purpose = MARKETING
    lateness: Duration = days(2)
    resend_after: Duration | None = None
    counted_from: CountedFrom | None = None
    window: SendWindow | None = None


@dataclass(frozen=True, slots=True)
class Email(Sending):
    """A step that sends one email, to `contact.address`.

    `review_site` makes it a request for a review, with the rules of `evergreet.reviews`.
    """

    channel: ClassVar[Channel] = "email"

    review_site: str | Option | None = None
    kind: Literal["email"] = "email"


@dataclass(frozen=True, slots=True)
class Sms(Sending):
    """A step that sends one SMS, to `contact.phone`; marketing needs consent to `<topic>/sms` (docs/sms.md)."""

    channel: ClassVar[Channel] = "sms"

    kind: Literal["sms"] = "sms"


@dataclass(frozen=True, slots=True)
class InternalSending(Sending):
    """What a step says that tells our own people or systems of a contact, who gets nothing of it (docs/steps.md).

    With `purpose=TRANSACTIONAL` it goes out for who is held out or has reached the goal as well.
    """

    purpose: Purpose = INTERNAL


@dataclass(frozen=True, slots=True)
class Webhook(InternalSending):
    """A step that posts signed JSON to the webhook `to`, whose address and secret are settings.

    Without a `template` it says which contact, campaign, step and event it is about.
    """

    channel: ClassVar[Channel] = "webhook"

    template: str = OF_EVERY_WEBHOOK
    to: str = field(kw_only=True)
    kind: Literal["webhook"] = "webhook"


@dataclass(frozen=True, slots=True)
class Slack(InternalSending):
    """A step that writes a note into the Slack channel `to`, whose incoming webhook is a setting."""

    channel: ClassVar[Channel] = "slack"

    to: str = "team"
    kind: Literal["slack"] = "slack"


@dataclass(frozen=True, slots=True)
class CrmTask(InternalSending):
    """A step that gives somebody something to do in the CRM, such as a call, within `due` from then on."""

    channel: ClassVar[Channel] = "crm"

    due: Duration = days(1)
    kind: Literal["crm_task"] = "crm_task"


@dataclass(frozen=True, slots=True)
class CrmNote(InternalSending):
    """A step that writes a note on the contact's timeline in the CRM."""

    channel: ClassVar[Channel] = "crm"

    kind: Literal["crm_note"] = "crm_note"


@dataclass(frozen=True, slots=True)
class CrmList(InternalSending):
    """A step that puts the contact on the list `to` of the CRM, which is a setting; off it where `member` is false."""

    channel: ClassVar[Channel] = "crm"

    template: str = OF_EVERY_LIST
    to: str = field(kw_only=True)
    member: bool = True
    kind: Literal["crm_list"] = "crm_list"


Step: TypeAlias = Email | Sms | Webhook | Slack | CrmTask | CrmNote | CrmList

Directed: TypeAlias = Webhook | Slack | CrmList
"""Steps that say by a name of the settings where to: `to`."""


def place_of(step: Step | None) -> str:
    """Return the name of the place that a step is about; empty where it has none."""
    return step.to if isinstance(step, Directed) else ""
