"""The events that a campaign names, and those of them that look misspelt: a typo waits for ever and says nothing."""

from collections.abc import Iterator

from sqlalchemy import Connection, exists, select
from sqlmodel import col

from evergreet.campaign import BroadcastTrigger, Campaign
from evergreet.conditions import Condition, Did, Nth, leaves
from evergreet.presets.vocabulary import meant
from evergreet.triggers import names_of
from models import Event


def events_named(campaign: Campaign) -> set[str]:
    """Return every event that a campaign starts from, asks for or counts from."""
    found = {name for part in campaign.trigger.parts for name in names_of(part)}
    found |= {part.name for part in campaign.trigger.parts if isinstance(part, BroadcastTrigger)}
    found |= {step.counted_from.event for step in campaign.steps if step.counted_from is not None}
    asked = (leaf for condition in _conditions(campaign) for leaf in leaves(condition))
    return found | {leaf.event for leaf in asked if isinstance(leaf, Did | Nth)}


def misspelt(connection: Connection, campaign: Campaign) -> Iterator[str]:
    """Yield a sentence for each event that nobody told yet and that is nearly one of the vocabulary."""
    for name in sorted(events_named(campaign)):
        if (likely := meant(name)) and not connection.execute(
            select(exists().where(col(Event.name) == name))
        ).scalar_one():
            yield f"{name!r}: no such event was told yet; did you mean {likely}?"


def _conditions(campaign: Campaign) -> Iterator[Condition]:
    yield campaign.audience
    yield from (step.unless for step in campaign.steps if step.unless is not None)
    yield from (case.when for pick in campaign.picks for case in pick.cases)
    if campaign.goal is not None:
        yield campaign.goal
