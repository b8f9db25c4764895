"""Short words for tests of SMS: a connector that keeps what it was given, a template, a campaign of both channels."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from evergreet.campaign import TRANSACTIONAL, Campaign, Email, Options, Purpose, Sms, event
from evergreet.contracts import Accepted, Capabilities, Outcome, SmsMessage
from evergreet.engine import Engine
from evergreet.template_sources import TemplateSource
from tests.story import Story, note

MAYA, NOOR = "+447700900123", "+447700900456"

TEXT = TemplateSource(
    name="text",
    hash="5" * 64,
    sources={
        "text/sms.txt": "Hello {{ contact.first_name }}, {{ _('your order is on its way.') }}\n",
        "_base/opt_out.txt": '{{ _("Reply STOP to opt out.") }}\n',
        "locales/de.po": 'msgid "Reply STOP to opt out."\nmsgstr "Antworten Sie STOP, um nichts mehr zu bekommen."\n',
    },
)

OFFERS = Campaign(
    name="offers", topic="offers", trigger=event("order_placed", key="order_id"), steps=(Sms("offer", template="text"),)
)
BOTH = Campaign(
    name="both",
    topic="orders",
    trigger=event("order_placed", key="order_id"),
    steps=(
        Email("receipt", template="note", purpose=TRANSACTIONAL),
        Sms("shipped", template="text", purpose=TRANSACTIONAL),
    ),
)


def either(name: str, purpose: Purpose) -> TemplateSource:
    """The SMS for steps that name it, else the email."""
    return TEXT if name == "text" else note(name, purpose)


@dataclass
class Texter:
    """A connector that keeps what it was given; `answers` may say something else than accepted per number."""

    name: ClassVar[str] = "texter"
    capabilities: ClassVar[Capabilities] = Capabilities(channel="sms", batch_limit=100, window=20)
    sent: list[SmsMessage] = field(default_factory=list)
    answers: dict[str, Outcome | Exception] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def from_environment(cls) -> Self:
        return cls()

    def check(self) -> str:
        return "It keeps them."

    def close(self) -> None:
        pass

    def send(self, batch: Sequence[SmsMessage]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for message in batch:
            answer = self.answers.get(message.to, Accepted(f"t-{message.key}"))
            if isinstance(answer, Exception) and not isinstance(answer, Outcome):
                raise answer
            if isinstance(answer, Accepted):
                with self.lock:
                    self.sent.append(message)
            outcomes.append(answer)
        return outcomes


@dataclass
class TextStory(Story):
    """A story in which SMS are sent as well."""

    texter: Any = field(default_factory=Texter)

    def engine(self) -> Engine:
        return Engine(
            self.database, self.sender, self.settings, self.load, clock=self.clock, others=(self.texter,)
        )  # fmt: skip

    def person(self, name: str = "maya", phone: str | None = MAYA, **columns: Any) -> int:
        """Store a contact with a phone who agreed to SMS about offers."""
        return self.contact(name, phone=phone, consents=columns.pop("consents", ("offers/sms",)), **columns)

    def runs(self, campaign: Campaign, *contacts: int) -> None:
        """Launch it, let everybody place an order, and run it."""
        self.launch(campaign)
        self.happened("order_placed", *contacts)
        self.run(campaign, Options())

    @property
    def texts(self) -> list[str]:
        """What was sent by SMS, in order."""
        return [message.body for message in self.texter.sent]
