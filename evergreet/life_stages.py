"""The stages a campaign names, in the words of the lifecycle that is in use."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from evergreet.campaign import Campaign
from evergreet.conditions import StageIs
from evergreet.errors import DefinitionError
from evergreet.lifecycle import Lifecycle
from evergreet.triggers import StageTrigger, Triggers

T = TypeVar("T")


def in_lifecycle(campaign: Campaign, lifecycle: Lifecycle) -> Campaign:
    """Return the campaign with each stage it names replaced by the stages that stand for it in this lifecycle.

    Raises DefinitionError where a stage means nothing there.
    """
    try:
        return _translated(campaign, lifecycle)
    except DefinitionError as error:
        raise DefinitionError(f"campaign {campaign.name!r}: {error}") from None


def _translated(value: T, lifecycle: Lifecycle) -> T:
    found: Any = value
    match value:
        case Triggers(parts):
            found = Triggers(tuple(dict.fromkeys(one for part in parts for one in _triggers(part, lifecycle))))
        case StageIs(stages):
            found = StageIs(tuple(dict.fromkeys(one for stage in stages for one in lifecycle.meaning(stage))))
        case tuple():
            found = tuple(_translated(item, lifecycle) for item in value)
        case _ if is_dataclass(value) and not isinstance(value, type):
            given = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
            found = replace(value, **{name: _translated(part, lifecycle) for name, part in given.items()})
    return found  # type: ignore[no-any-return]


def _triggers(part: Any, lifecycle: Lifecycle) -> list[Any]:
    if isinstance(part, StageTrigger):
        return [StageTrigger(stage) for stage in lifecycle.meaning(part.stage)]
    return [part]
