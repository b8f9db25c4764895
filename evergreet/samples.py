"""Test sends: every step of a campaign with its sample data, to one address, outside the ledger."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from evergreet.addresses import read_address
from evergreet.campaign import Campaign, Options
from evergreet.composing import mailbox, surroundings_of
from evergreet.contracts import Accepted, Connector, EmailMessage, EmailSender, Mailbox
from evergreet.errors import ConfigurationError, DataError
from evergreet.preview import read_sample
from evergreet.rendering import Renderer
from evergreet.settings import Settings
from evergreet.template_sources import load_template


def send_samples(
    sender: Connector, campaign: Campaign, options: Options, settings: Settings, *, to: str, step: str | None
) -> Iterator[tuple[str, str]]:
    """Send the steps and yield each step's key with a sentence; raises what the connector raises.

    The subject says that it is a test, and the unsubscribe link is a sample that takes nobody off a list.
    """
    if not isinstance(sender, EmailSender):
        raise ConfigurationError(f"EVERGREET_EMAIL={settings.email}: this connector does not send email.")
    address = read_address(to).normalised
    resolved = campaign.resolve(options)
    steps = [one for one in resolved.steps if step in (None, one.key)]
    if not steps:
        keys = ", ".join(one.key for one in resolved.steps)
        raise DataError(f"--step {step}: campaign {campaign.name!r} has the steps {keys}.")
    for one in steps:
        source = load_template(settings.templates, one.template, purpose=one.purpose)
        sample, _ = read_sample(settings.templates, one.template, settings)
        context = replace(
            sample, options=options.of_version(), campaign=campaign.name, step=one.key, topic=campaign.topic
        )
        rendered = Renderer(source, surroundings_of(settings)).render(context)
        message = EmailMessage(
            key=f"test-{uuid.uuid4().hex}", to=Mailbox(address), sender=mailbox(settings.sender),
            reply_to=mailbox(settings.reply_to) if settings.reply_to else None, subject=f"[Test] {rendered.subject}",
            html=rendered.html, text=rendered.text, date=datetime.now(UTC), template=source.hash,
        )  # fmt: skip
        outcome = sender.send([message])[0]
        if not isinstance(outcome, Accepted):
            raise outcome
        yield one.key, f"accepted for {address} by {sender.name} ({outcome.provider_id})"
