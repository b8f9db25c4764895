"""The words a campaign is written in: frozen values that check themselves when the module is loaded."""

from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import time
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from evergreet.conditions import Condition, everyone
from evergreet.durations import Amount, Duration, Option, days, hours, number
from evergreet.errors import DefinitionError


class Purpose(StrEnum):
    """Why a message is sent: a transactional one answers something the customer did and needs no consent."""

    TRANSACTIONAL = "transactional"
    MARKETING = "marketing"


TRANSACTIONAL = Purpose.TRANSACTIONAL
MARKETING = Purpose.MARKETING


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


@dataclass(frozen=True, slots=True)
class Local:
    """A time of day where the contact lives."""

    hour: Amount
    minute: Amount = 0

    @property
    def time(self) -> time:
        """The time of day; options must have been filled in before."""
        return time(number(self.hour), number(self.minute))


@dataclass(frozen=True, slots=True)
class EventTrigger:
    """Starts an enrollment for each event of that name; with `key`, one per value of that property."""

    name: str
    key: str | None = None
    kind: Literal["event"] = "event"


@dataclass(frozen=True, slots=True)
class StageTrigger:
    """Starts an enrollment when a contact enters the stage; a move caused by event E is E's occurrence."""

    stage: str
    kind: Literal["stage"] = "stage"


Trigger: TypeAlias = EventTrigger | StageTrigger


@dataclass(frozen=True, slots=True)
class Triggers:
    """What starts an enrollment: any of these, once per causing event."""

    parts: tuple[Trigger, ...]

    def __or__(self, other: "Triggers") -> "Triggers":
        return Triggers((*self.parts, *other.parts))

    @property
    def events(self) -> tuple[EventTrigger, ...]:
        """The event triggers among them."""
        return tuple(part for part in self.parts if isinstance(part, EventTrigger))

    @property
    def stages(self) -> tuple[StageTrigger, ...]:
        """The stage triggers among them."""
        return tuple(part for part in self.parts if isinstance(part, StageTrigger))


@dataclass(frozen=True, slots=True)
class Email:
    """A step that sends one email.

    Due `after` the triggering moment, at the local time `at` on that day where given (the day counted in
    the contact's zone; a time already past moves to the next day). `unless` looks at events after the
    triggering one. Not sent when more than `lateness` late. `resend_after` opts in to a second attempt of a
    message whose fate is unknown for that long.
    """

    key: str
    template: str
    after: Duration = hours(0)
    at: Local | None = None
    unless: Condition | None = None
    purpose: Purpose = MARKETING
    lateness: Duration = days(2)
    resend_after: Duration | None = None
    kind: Literal["email"] = "email"


Step: TypeAlias = Email
ReEntry: TypeAlias = Literal["every", "once"] | Duration


@dataclass(frozen=True, slots=True)
class Campaign:
    """A lifecycle campaign: what starts it, for whom, which steps, and what counts as success.

    `holdout` is a percentage of contacts who are enrolled but never sent marketing steps.
    `limit_per_day` is the blast radius: more messages than that within 24 hours pause the campaign.
    """

    name: str
    trigger: Triggers
    steps: tuple[Step, ...]
    topic: str | None = None
    audience: Condition = everyone
    goal: Condition | None = None
    re_entry: ReEntry = "every"
    holdout: int = 0
    limit_per_day: int | None = 100_000

    def __post_init__(self) -> None:
        """Refuse what would fail later."""
        where = f"campaign {self.name!r}"
        if not self.name or self.name != self.name.lower() or not self.name.replace("-", "").isalnum():
            raise DefinitionError(f"{where}: write the name in small letters, digits and hyphens, e.g. 'thank-you'.")
        if not self.steps:
            raise DefinitionError(f"{where}: it has no steps; add at least one Email(…).")
        if not self.trigger.parts:
            raise DefinitionError(f"{where}: it has no trigger; write trigger=event(…) or stage_entered(…).")
        keys = [step.key for step in self.steps]
        if doubled := sorted({key for key in keys if keys.count(key) > 1}):
            raise DefinitionError(
                f"{where}: step key {doubled[0]!r} stands twice; keys identify steps, give each its own."
            )
        for step in self.steps:
            if step.purpose is MARKETING and not self.topic:
                raise DefinitionError(
                    f"{where}, step {step.key!r}: a marketing email needs a topic people can unsubscribe from; "
                    f"write topic='…' on the campaign, or purpose=TRANSACTIONAL on the step."
                )
        if not 0 <= self.holdout <= 100:
            raise DefinitionError(f"{where}: holdout={self.holdout} is not a percentage from 0 to 100.")

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
        resolved: Campaign = _fill(self, options.of_version(), self.name)
        return resolved


CAMPAIGN: TypeAdapter[Campaign] = TypeAdapter(Campaign)
"""Turns a resolved campaign into its canonical JSON and back."""


def _fill(value: Any, options: dict[str, Any], campaign: str) -> Any:
    if isinstance(value, Option):
        if value.option not in options:
            raise DefinitionError(
                f"campaign {campaign!r}: option({value.option!r}) is not a field of its Options; "
                f"it has: {', '.join(sorted(options)) or 'none'}."
            )
        return options[value.option]
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{f.name: _fill(getattr(value, f.name), options, campaign) for f in fields(value) if f.init}
        )
    if isinstance(value, tuple):
        return tuple(_fill(item, options, campaign) for item in value)
    return value


def event(name: str, *, key: str | None = None) -> Triggers:
    """Start an enrollment for each `name` event; with `key`, one per value of that property."""
    return Triggers((EventTrigger(name, key),))


def stage_entered(stage: str) -> Triggers:
    """Start an enrollment when a contact enters the stage."""
    return Triggers((StageTrigger(stage),))


def local(at: time | Amount, minute: Amount = 0) -> Local:
    """Say a time of day where the contact lives: `local(time(10))` or `local(option("hour"))`."""
    return Local(at.hour, at.minute) if isinstance(at, time) else Local(at, minute)
