"""What is refused of a step before anything is run: a template of another channel, a channel that nobody sends."""

from collections.abc import Iterable, Mapping

from evergreet.campaign import Step
from evergreet.contracts import Sender
from evergreet.errors import ConfigurationError, DefinitionError
from evergreet.template_sources import TemplateSource


def check_template(campaign: str, step: Step, source: TemplateSource) -> None:
    """Refuse a step whose template is a message of another channel."""
    if source.channel != step.channel:
        needs = "sms.txt" if step.channel == "sms" else "subject.txt and body.html"
        raise DefinitionError(
            f"campaign {campaign!r}, step {step.key!r}: the template {step.template!r} is not of this channel; "
            f"{type(step).__name__}(…) needs a folder with {needs}."
        )


def check_channels(campaign: str, steps: Iterable[Step], senders: Mapping[str, Sender]) -> None:
    """Refuse steps that no connector sends; `senders` are those of other channels than email, which always has one."""
    for step in steps:
        if step.channel != "email" and step.channel not in senders:
            raise ConfigurationError(
                f"Campaign {campaign!r} sends an SMS (step {step.key!r}) and no connector is set that does: set "
                "EVERGREET_SMS to one that `evergreet connectors` lists for sms."
            )
