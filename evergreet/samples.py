"""Test sends: every step of a channel with its sample data, to one address or number, outside the ledger."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from evergreet.campaign import Campaign, Options
from evergreet.channels import AnySender, read_destination
from evergreet.composing import mailbox, surroundings_of
from evergreet.contracts import Accepted, CrmSink, EmailMessage, Mailbox, SmsMessage
from evergreet.errors import DataError
from evergreet.preview import read_sample
from evergreet.rendering import MessageContext, Renderer
from evergreet.settings import Settings
from evergreet.sms_rendering import SmsRenderer
from evergreet.template_sources import TemplateSource, load_template

_ADDRESSES: Mapping[str, str] = {
    "email": "; give --to an email address", "sms": "; give --to a phone number, such as +4915123456789"
}  # fmt: skip


def send_samples(
    sender: AnySender, campaign: Campaign, options: Options, settings: Settings, *, to: str, step: str | None
) -> Iterator[tuple[str, str]]:
    """Send the steps of the sender's channel and yield each step's key with a sentence; raises what the connector does.

    All are made before the first is sent: where one cannot be made, none is. The subject, or the beginning of an SMS,
    says that it is a test, and the unsubscribe link is a sample that takes nobody off a list. Steps of another channel
    are named and passed over.
    """
    address = read_destination(to)
    resolved = campaign.resolve(options)
    steps = [one for one in resolved.steps if step in (None, one.key)]
    if not steps:
        keys = ", ".join(one.key for one in resolved.steps)
        raise DataError(f"--step {step}: campaign {campaign.name!r} has the steps {keys}.")
    messages: dict[str, EmailMessage | SmsMessage] = {}
    for one in steps:
        if isinstance(sender, CrmSink) or one.channel != sender.capabilities.channel:
            continue
        source = load_template(settings.templates, one.template, purpose=one.purpose)
        sample, _ = read_sample(settings.templates, one.template, settings)
        context = replace(
            sample, options=options.of_version(), campaign=campaign.name, step=one.key, topic=campaign.topic
        )
        messages[one.key] = _message(source, context, settings, address)
    for one in steps:
        if isinstance(sender, CrmSink) or one.key not in messages:
            yield one.key, f"not sent: it is for {one.channel}{_ADDRESSES.get(one.channel, ', not for the contact')}"
            continue
        outcome = sender.send([messages[one.key]])[0]
        if not isinstance(outcome, Accepted):
            raise outcome
        yield one.key, f"accepted for {address} by {sender.name} ({outcome.provider_id})"


def _message(
    source: TemplateSource, context: MessageContext, settings: Settings, address: str
) -> EmailMessage | SmsMessage:
    key, now = f"test-{uuid.uuid4().hex}", datetime.now(UTC)
    if source.channel == "sms":
        text = SmsRenderer(source, surroundings_of(settings)).render(context, first=True).text
        return SmsMessage(key, address, f"[Test] {text}", now, source.hash)
    rendered = Renderer(source, surroundings_of(settings)).render(context)
    return EmailMessage(
        key=key, to=Mailbox(address), sender=mailbox(settings.sender),
        reply_to=mailbox(settings.reply_to) if settings.reply_to else None, subject=f"[Test] {rendered.subject}",
        html=rendered.html, text=rendered.text, date=now, template=source.hash,
    )  # fmt: skip
