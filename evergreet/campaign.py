"""The words a campaign is written in: frozen values that check themselves when the module is loaded."""

import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import time
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from evergreet.channels import writes_to_contacts
from evergreet.conditions import Attribute, Condition, Consented, Did, HasEmail, Scalar, everyone, leaves
from evergreet.durations import Amount, Duration, Option
from evergreet.errors import DefinitionError
from evergreet.reviews import BOUGHT, NOT_BOUGHT, REVIEWED, forbids_asking, incentive_in, incentive_written, is_https
from evergreet.steps import (
    INTERNAL,
    MARKETING,
    TRANSACTIONAL,
    CountedFrom,
    CrmList,
    CrmNote,
    CrmTask,
    Directed,
    Email,
    Local,
    Purpose,
    SendWindow,
    Slack,
    Sms,
    Step,
    Webhook,
)
from evergreet.triggers import (
    AnniversaryTrigger,
    BroadcastTrigger,
    EventTrigger,
    SilenceTrigger,
    StageTrigger,
    Trigger,
    Triggers,
    anniversary,
    broadcast,
    event,
    names_of,
    silence,
    stage_entered,
)

__all__ = [
    "CAMPAIGN", "INTERNAL", "MARKETING", "TRANSACTIONAL", "AnniversaryTrigger", "BroadcastOptions", "BroadcastTrigger",
    "Campaign", "Case", "CountedFrom", "CrmList", "CrmNote", "CrmTask", "Email", "EventTrigger", "Local", "Options",
    "Pick", "Purpose", "ReEntry", "SendWindow", "SilenceTrigger", "Slack", "Sms", "StageTrigger", "Step", "Trigger",
    "Triggers", "Webhook", "anniversary", "broadcast", "event", "latest", "local", "pick", "send_window", "silence",
    "stage_entered",
]  # fmt: skip


class Options(BaseModel):
    """What a growth person may set on a campaign; subclass it to add fields.

    The fields of this class steer one run; the fields a campaign adds are part of its version.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dry_run: bool = Field(default=False, description="Only count who would get what; nothing is stored or sent.")
    batch_size: int = Field(
        default=1000, ge=1, le=10_000, description="Messages planned and claimed together (one chunk)."
    )
    max_seconds: int | None = Field(
        default=None, ge=1, le=86_400, description="Begin nothing new after so many seconds; empty: until all is done."
    )

    def of_version(self) -> dict[str, Any]:
        """Return the fields that belong to the campaign's version."""
        return self.model_dump(mode="json", exclude=set(Options.model_fields))


class BroadcastOptions(Options):
    """Options of a campaign that writes to all at once: its form takes somebody's word for a broadcast that waits."""

    confirm: str = Field(
        default="", max_length=400, description="Which waiting broadcast may go, as a run's page names it; empty: none."
    )
    recipients: int | None = Field(
        default=None, ge=1, description="How many it may go to at most: the number on that page."
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if bool(self.confirm) != (self.recipients is not None):
            raise ValueError("confirm and recipients go together: which broadcast, and how many it may go to at most")
        return self

    def of_version(self) -> dict[str, Any]:
        """Return the fields that belong to the campaign's version."""
        return self.model_dump(mode="json", exclude=set(BroadcastOptions.model_fields))


@dataclass(frozen=True, slots=True)
class Case:
    """What a pick gives where `when` holds: names and values, as the template reads them."""

    when: Condition
    value: tuple[tuple[str, Scalar], ...]


@dataclass(frozen=True, slots=True)
class Pick:
    """Chooses content per contact: the first case whose condition holds, as `picked.<name>` in the template.

    Conditions are asked when the message is rendered; without `within` they count events after the triggering
    one, or all history with `ever`. Where no case holds, `picked.<name>` is none.
    """

    name: str
    cases: tuple[Case, ...]
    ever: bool = False

    def __post_init__(self) -> None:
        """Refuse a pick that has nothing to choose from."""
        if not self.cases:
            raise DefinitionError(
                f"pick({self.name!r}): it has no cases; write (condition, {{…}}) pairs after the name."
            )


ReEntry: TypeAlias = Literal["every", "once"] | Duration


@dataclass(frozen=True, slots=True)
class Campaign:
    """A lifecycle campaign: what starts it, for whom, which steps, and what counts as success.

    `holdout` is a percentage of contacts, such as 10 or 0.5, who are enrolled but never sent marketing steps.
    `limit_per_day` is the blast radius: more messages than that within 24 hours pause the campaign.
    `picks` choose content per contact. A broadcast to more than `confirm_above` contacts waits until somebody
    confirms the count. `ends_mailing`: who got the last step and gave no sign of life since gets no marketing
    from any campaign until they come back (what counts as coming back is what breaks its silence).
    """

    name: str
    trigger: Triggers
    steps: tuple[Annotated[Step, Field(discriminator="kind")], ...]
    topic: str | None = None
    audience: Condition = everyone
    goal: Condition | None = None
    re_entry: ReEntry = "every"
    holdout: int | float = 0
    limit_per_day: int | None = 100_000
    picks: tuple[Pick, ...] = ()
    confirm_above: int = 1_000
    ends_mailing: bool = False

    def __post_init__(self) -> None:
        """Refuse what would fail later."""
        where = f"campaign {self.name!r}"
        if not self.name or self.name != self.name.lower() or not self.name.replace("-", "").isalnum():
            raise DefinitionError(f"{where}: write the name in small letters, digits and hyphens, e.g. 'thank-you'.")
        if not self.steps:
            raise DefinitionError(f"{where}: it has no steps; add at least one, such as Email(…).")
        if not self.trigger.parts:
            raise DefinitionError(f"{where}: it has no trigger; write trigger=event(…) or stage_entered(…).")
        if self.topic and self.topic.endswith("/sms"):
            raise DefinitionError(
                f"{where}: topic={self.topic!r}: write the topic alone, for both channels; "
                "its SMS steps ask for consent to <topic>/sms by themselves."
            )
        keys = [step.key for step in self.steps]
        if doubled := sorted({key for key in keys if keys.count(key) > 1}):
            raise DefinitionError(
                f"{where}: step key {doubled[0]!r} stands twice; keys identify steps, give each its own."
            )
        for step in self.steps:
            _check_purpose(f"{where}, step {step.key!r}", step)
            if step.purpose is MARKETING and not self.topic:
                raise DefinitionError(
                    f"{where}, step {step.key!r}: a marketing message needs a topic people can unsubscribe from; "
                    f"write topic='…' on the campaign, or purpose=TRANSACTIONAL on the step."
                )
            if isinstance(step, Email) and step.review_site is not None:
                _check_review_request(f"{where}, step {step.key!r}", self, step)
        if not 0 <= self.holdout <= 100:
            raise DefinitionError(
                f"{where}: holdout={self.holdout} is not a percentage from 0 to 100, such as 10 or 0.5."
            )
        if len(self.trigger.anniversaries) > 1:  # both would number theirs from 1
            raise DefinitionError(
                f"{where}: a campaign remembers one date; write anniversary('first', 'second') for whichever event "
                "came first, or a campaign for each."
            )
        if self.is_broadcast and self.re_entry != "every":
            raise DefinitionError(
                f"{where}: re_entry={self.re_entry!r} does not go with trigger=broadcast(…), which writes to the whole "
                "audience each time; say in the audience who is left out, or cap the topic (EVERGREET_TOPIC_CAPS)."
            )
        if self.ends_mailing and not (self.trigger.silences and any(writes_to_contacts(s.channel) for s in self.steps)):
            raise DefinitionError(
                f"{where}: ends_mailing=True goes with trigger=silence(…), which says what ends it, and with a step "
                "that writes to the contact: the last such is the last word."
            )

    @property
    def is_broadcast(self) -> bool:
        """Whether it writes to a whole audience at once; then it comes after what a contact's own life sets off."""
        return bool(self.trigger.broadcasts)

    @property
    def priority(self) -> int:
        """Which campaign is first where several compete for one place: 1 lifecycle, 2 broadcast (0: transactional)."""
        return 2 if self.is_broadcast else 1

    @property
    def asks_for_reviews(self) -> bool:
        """Whether a step of it is a request for a review."""
        return any(isinstance(step, Email) and step.review_site is not None for step in self.steps)

    def step(self, key: str) -> Step | None:
        """Return the step with that key, if the campaign has it."""
        return next((step for step in self.steps if step.key == key), None)

    def after_step(self, key: str) -> Step | None:
        """Return the step that follows `key`, if any."""
        keys = [step.key for step in self.steps]
        index = keys.index(key) + 1
        return self.steps[index] if index < len(self.steps) else None

    def resolve(self, options: Options) -> "Campaign":
        """Return the campaign with every `option(…)` replaced by its value."""
        chosen = options.of_version()
        resolved: Campaign = _fill(self, chosen, self.name)
        if self.asks_for_reviews:
            _check_review_options(self.name, chosen)
        return resolved


CAMPAIGN: TypeAdapter[Campaign] = TypeAdapter(Campaign)
"""Turns a resolved campaign into its canonical JSON and back."""


def _check_purpose(where: str, step: Step) -> None:
    """Refuse a purpose that does not go with what the step sends, and a destination that no setting can name."""
    kind = type(step).__name__
    if writes_to_contacts(step.channel):
        if step.purpose is INTERNAL:
            raise DefinitionError(
                f"{where}: purpose=INTERNAL: {kind}(…) writes to the contact; say MARKETING or TRANSACTIONAL."
            )
        return
    if step.purpose is MARKETING:
        raise DefinitionError(
            f"{where}: purpose=MARKETING: {kind}(…) does not write to the contact; leave it out, or say TRANSACTIONAL "
            "where it goes out for who is held out or has reached the goal as well."
        )
    if isinstance(step, Directed) and not re.fullmatch("[a-z][a-z0-9_]{0,39}", step.to):
        raise DefinitionError(
            f"{where}: to={step.to!r}: a setting says where that is, so write a short name in small letters, digits "
            "and _, such as 'warehouse'."
        )


def _check_review_request(where: str, campaign: Campaign, step: Email) -> None:
    """Refuse a request for a review that is not the same for everyone, or that goes where asking is forbidden."""
    if isinstance(step.review_site, str):
        if not is_https(step.review_site):
            raise DefinitionError(f"{where}: review_site={step.review_site!r} is not an https:// address.")
        if rule := forbids_asking(step.review_site):
            raise DefinitionError(
                f"{where}: review_site={step.review_site!r}: {rule}. Ask for a review on your own site instead."
            )
    if campaign.trigger.stages:
        raise DefinitionError(
            f"{where}: a stage such as advocacy would ask only who is happy; start a request for a review from an "
            "event that every buyer has, e.g. trigger=event('order_placed', key='order_id')."
        )
    begins = {name for part in campaign.trigger.parts for name in names_of(part)}
    if some := sorted(begins - BOUGHT):
        raise DefinitionError(
            f"{where}: {some[0]!r} would ask only some; start a request for a review from an event that every buyer "
            f"has ({', '.join(sorted(BOUGHT))}), and import yours by one of these names."
        )
    asked = [campaign.audience, step.unless, campaign.goal]  # who reached the goal is not written to either
    asked += [case.when for pick in campaign.picks for case in pick.cases]
    for condition in (each for each in asked if each is not None):
        odd = next((part for part in leaves(condition) if not _same_for_everyone(part)), None)
        if odd is not None:
            raise DefinitionError(
                f"{where}: a request for a review goes to everyone alike, but a condition asks for {odd!r}. Only "
                f"has_email, consented(…), attributes of place, did({' or '.join(sorted(REVIEWED))}), and that the "
                "same order was cancelled, may choose."
            )
    values = [each for pick in campaign.picks for case in pick.cases for each in case.value]
    if gift := incentive_in(name for name, _value in values) or _promised(value for _name, value in values):
        raise DefinitionError(f"{where}: the pick {gift!r} would give something for a review; take it out.")


def _check_review_options(campaign: str, chosen: Mapping[str, Any]) -> None:
    """Refuse options with which a request for a review would give something, or lead where asking is forbidden."""
    if gift := incentive_in(chosen) or _promised(chosen.values()):
        raise DefinitionError(
            f"campaign {campaign!r}: the option {gift!r} would give something for a review; a request for a "
            "review carries no incentive. Take the option out, or send the offer in a campaign of its own."
        )
    for name, value in chosen.items():
        if isinstance(value, str) and (rule := forbids_asking(value)):
            raise DefinitionError(
                f"campaign {campaign!r}: the option {name}={value!r}: {rule}. Ask for a review on your own site "
                "instead."
            )


def _promised(values: Iterable[Any]) -> str | None:
    """Return the first word by which one of these texts would give something; an address is read for its site."""
    texts = (value for value in values if isinstance(value, str) and not is_https(value))
    return next((gift for text in texts if (gift := incentive_written(text))), None)


def _same_for_everyone(part: Condition) -> bool:
    match part:
        case HasEmail() | Consented():
            return True
        case Attribute(name=name):
            return name in {"country", "locale", "timezone"}
        case Did(event=name, where=where):
            alike = all(each.op == "same" for each in where)
            return alike and (name in REVIEWED or (name in NOT_BOUGHT and bool(where)))
        case _:
            return False


def _fill(value: Any, options: dict[str, Any], campaign: str) -> Any:
    if isinstance(value, Option):
        if value.option not in options:
            raise DefinitionError(
                f"campaign {campaign!r}: option({value.option!r}) is not a field of its Options; "
                f"it has: {', '.join(sorted(options)) or 'none'}."
            )
        return options[value.option]
    if isinstance(value, tuple):
        items = tuple(_fill(item, options, campaign) for item in value)
        return value if all(map(operator.is_, items, value)) else items
    if is_dataclass(value) and not isinstance(value, type):
        changed = {
            field.name: filled
            for field in fields(value)
            if field.init and (filled := _fill(given := getattr(value, field.name), options, campaign)) is not given
        }
        return replace(value, **changed) if changed else value  # most of a campaign is without options
    return value


WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def send_window(weekdays: str, opens: Amount = 0, closes: Amount = 24) -> SendWindow:
    """Say when a step may go where the contact lives: `send_window("mon-fri", 9, 18)` or `send_window("tue,thu")`."""
    chosen: set[int] = set()
    for part in weekdays.lower().replace(" ", "").split(","):
        begin, dash, end = part.partition("-")
        end = end if dash else begin
        if begin not in WEEKDAYS or end not in WEEKDAYS:
            raise DefinitionError(f"send_window({weekdays!r}): write days such as 'mon-fri' or 'tue,thu,sat'.")
        first, last = WEEKDAYS.index(begin), WEEKDAYS.index(end)
        chosen |= {day % 7 for day in range(first, (last if last >= first else last + 7) + 1)}
    return SendWindow(tuple(sorted(chosen)), opens, closes)


def latest(event: str, *, same: str) -> CountedFrom:
    """Count from the latest such event about the same thing: `latest("order_delivered", same="order_id")`."""
    return CountedFrom(event, same)


def pick(name: str, *cases: tuple[Condition, Mapping[str, Scalar]], ever: bool = False) -> Pick:
    """Choose content per contact: `pick("milestone", (did_not("profile_completed"), {"title": "…"}), …)`."""
    return Pick(name, tuple(Case(when, tuple(value.items())) for when, value in cases), ever)


def local(at: time | Amount, minute: Amount = 0) -> Local:
    """Say a time of day where the contact lives: `local(time(10))` or `local(option("hour"))`."""
    return Local(at.hour, at.minute) if isinstance(at, time) else Local(at, minute)
