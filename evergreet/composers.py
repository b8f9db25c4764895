"""What renders the messages of a step, for each kind of step."""

from datetime import datetime
from typing import TypeAlias

from sqlalchemy import Connection

from evergreet import contracts
from evergreet.campaign import CrmList, CrmNote, CrmTask, Email, Slack, Sms, Step, Webhook
from evergreet.campaigns import Version, template_source
from evergreet.composing import Composer, Letter, SmsComposer, context_of, message_key, surroundings_of
from evergreet.contracts import CrmRecord, SlackNote, WebhookMessage
from evergreet.internal_rendering import InternalRenderer, Record
from evergreet.settings import Settings
from evergreet.tokens import Tokens

InternalStep: TypeAlias = Webhook | Slack | CrmTask | CrmNote | CrmList


class InternalComposer:
    """Renders what one step of one version tells our own people or systems; templates come from the store."""

    def __init__(self, connection: Connection, version: Version, step: InternalStep, settings: Settings) -> None:
        self.version = version
        self.step = step
        self.settings = settings
        self.template = version.templates[step.template]
        self.renderer = InternalRenderer(template_source(connection, self.template), surroundings_of(settings))

    def compose(self, letter: Letter, now: datetime) -> "InternalMessage":
        """Render one message; raises `RenderError` where the template and this contact do not go together."""
        step = self.step
        key = message_key(self.version.campaign.name, letter.step_key, letter.occurrence, letter.source)
        context = context_of(self.version, step, letter, self.settings)
        parts = self.renderer.render(context, Record(key, letter.occurrence, *letter.origin)).parts
        match step:
            case Webhook():
                return WebhookMessage(key, step.to, parts["body.json"], self.template, letter.id)
            case Slack():
                return SlackNote(key, step.to, parts["slack.txt"], self.template, letter.id)
        record = CrmRecord(letter.record, letter.contact["email"] or "")
        title, text = parts["title.txt"], parts["text.txt"]
        match step:
            case CrmTask():
                return contracts.CrmTask(record, key, title, text, now + step.due.span)
            case CrmList():
                return contracts.CrmMembership(record, step.to, step.member)
        return contracts.CrmNote(record, key, title, text, now)


AnyComposer: TypeAlias = Composer | SmsComposer | InternalComposer
InternalMessage: TypeAlias = (
    WebhookMessage | SlackNote | contracts.CrmTask | contracts.CrmNote | contracts.CrmMembership
)
AnyMessage: TypeAlias = contracts.EmailMessage | contracts.SmsMessage | InternalMessage


def composer_of(
    connection: Connection, version: Version, step: Step, settings: Settings, tokens: Tokens
) -> AnyComposer:
    """Return what renders the messages of one step of one version."""
    match step:
        case Email():
            return Composer(connection, version, step, settings, tokens)
        case Sms():
            return SmsComposer(connection, version, step, settings, tokens)
        case _:
            return InternalComposer(connection, version, step, settings)
