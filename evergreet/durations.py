"""Spans of time as campaign authors write them, and options that fill them in."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeAlias

from evergreet.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class Option:
    """A placeholder for a field of the campaign's options, filled in when a version is made."""

    option: str


Amount: TypeAlias = int | Option
Unit: TypeAlias = Literal["minutes", "hours", "days"]

LONGEST: dict[Unit, int] = {"minutes": 365_000 * 24 * 60, "hours": 365_000 * 24, "days": 365_000}


@dataclass(frozen=True, slots=True)
class Duration:
    """A whole number of minutes, hours or days. A day here is 24 hours; only local times know of DST."""

    amount: Amount
    unit: Unit

    def __post_init__(self) -> None:
        """Refuse broken and negative spans and those that lead out of the calendar."""
        if not isinstance(self.amount, int | Option):
            raise DefinitionError(f"{self.unit}({self.amount!r}): write a whole number; half a day is hours(12).")
        if isinstance(self.amount, int) and self.amount < 0:
            raise DefinitionError(f"{self.unit}({self.amount}): a duration is not negative; write a positive number.")
        if isinstance(self.amount, int) and self.amount > LONGEST[self.unit]:
            raise DefinitionError(f"{self.unit}({self.amount}): longer than a thousand years.")

    @property
    def span(self) -> timedelta:
        """The span as a timedelta; an option must have been filled in before."""
        return timedelta(**{self.unit: number(self.amount)})


def number(amount: Amount) -> int:
    """Return the number itself; an `Option` that was never filled in is an error."""
    if isinstance(amount, Option):
        raise DefinitionError(
            f"option({amount.option!r}) has no value yet: resolve the campaign with its options first."
        )
    return amount


def minutes(amount: Amount) -> Duration:
    """Return a span of minutes."""
    return Duration(amount, "minutes")


def hours(amount: Amount) -> Duration:
    """Return a span of hours."""
    return Duration(amount, "hours")


def days(amount: Amount) -> Duration:
    """Return a span of days of 24 hours."""
    return Duration(amount, "days")


EVER = days(36_500)
"""A hundred years: `within=EVER` asks of all that is known, also of what came before the triggering moment."""


def option(name: str) -> Any:
    """Use the option `name` where a number stands: `days(option("check_in_days"))`."""
    return Option(name)
