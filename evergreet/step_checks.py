"""What is refused of a step before it runs: a template of another channel, one that nobody sends, no hour to go in."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from evergreet.campaign import MARKETING, CrmList, Slack, Step, Webhook
from evergreet.channels import SETTINGS, AnySender
from evergreet.contracts import HasDestinations, HasLists
from evergreet.errors import ConfigurationError, DefinitionError
from evergreet.schedule import OpenHours, opening
from evergreet.settings import Settings
from evergreet.template_sources import FILES, TemplateSource

SOME_DAY, UTC_ZONE = datetime(2026, 1, 1, tzinfo=UTC), ZoneInfo("UTC")
"""Where and when no clock is changed."""


def check_template(campaign: str, step: Step, source: TemplateSource) -> None:
    """Refuse a step whose template is a message of another channel."""
    if source.channel != step.channel:
        raise DefinitionError(
            f"campaign {campaign!r}, step {step.key!r}: the template {step.template!r} is not of this channel; "
            f"{type(step).__name__}(…) needs a folder with {' and '.join(FILES[step.channel])}."
        )


def never_open(campaign: str, steps: Iterable[Step], settings: Settings) -> tuple[str, ...]:
    """Say of marketing steps whose window lies wholly within the quiet hours that they would never go.

    The campaign's options are filled in.
    """
    return tuple(
        f"Campaign {campaign!r}, step {step.key!r}: it would never go. All of its window, {step.window.opens}:00 to "
        f"{step.window.closes}:00, is quiet (EVERGREET_QUIET_FROM={settings.quiet_from:%H:%M}, "
        f"EVERGREET_QUIET_UNTIL={settings.quiet_until:%H:%M}): widen the window, or change the quiet hours."
        for step in steps
        if step.window is not None and step.purpose is MARKETING
        and opening(SOME_DAY, UTC_ZONE, OpenHours(step.window, settings.quiet_from, settings.quiet_until)) is None
    )  # fmt: skip


def check_channels(campaign: str, steps: Iterable[Step], senders: Mapping[str, AnySender]) -> None:
    """Refuse steps that no connector sends; `senders` are those of other channels than email, which always has one."""
    for step in steps:
        if step.channel == "email":
            continue
        if (sender := senders.get(step.channel)) is None:
            raise ConfigurationError(
                f"Campaign {campaign!r} has {type(step).__name__}(…), step {step.key!r}, and no connector is set that "
                f"does it: set EVERGREET_{SETTINGS[step.channel].upper()} to one that `evergreet connectors` lists for "
                f"{step.channel}."
            )
        if isinstance(step, Webhook | Slack) and isinstance(sender, HasDestinations):
            known = sorted(sender.destinations)
            if step.to not in known:
                raise ConfigurationError(
                    f"Campaign {campaign!r} tells {step.to!r} (step {step.key!r}), and no setting says where that is: "
                    f"EVERGREET_{sender.name.upper()}_TO__{step.to.upper()}… (docs/steps.md). "
                    f"There are: {', '.join(known) or 'none'}."
                )
        if isinstance(step, CrmList):
            lists = sorted(sender.lists) if isinstance(sender, HasLists) else None
            if lists is None:
                raise ConfigurationError(
                    f"Campaign {campaign!r} puts people on a list (step {step.key!r}), and the CRM {sender.name!r} of "
                    "EVERGREET_CRM_TASKS has none."
                )
            if step.to not in lists:
                raise ConfigurationError(
                    f"Campaign {campaign!r} puts people on the list {step.to!r} (step {step.key!r}), and "
                    f"EVERGREET_{sender.name.upper()}_LISTS does not say which that is. "
                    f"There are: {', '.join(lists) or 'none'}."
                )
