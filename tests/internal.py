"""Short words for tests of steps that do not write to the contact: templates, and sinks that keep what they get."""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from evergreet import contracts
from evergreet.campaign import Campaign, CrmTask, Purpose, Slack, Webhook, event
from evergreet.contracts import Accepted, Capabilities, Outcome, SlackNote, WebhookMessage
from evergreet.durations import days
from evergreet.engine import Engine
from evergreet.template_sources import TemplateSource, load_template
from tests.story import Story, note

BODY = TemplateSource(
    "body", "6" * 64, {"body/body.json": '{"name": {{ contact.first_name }}, "order": {{ event.order_id }}}'}
)
SLACK = TemplateSource("slack", "7" * 64, {"slack/slack.txt": "*{{ contact.first_name }}* placed an order.\n"})
TASK = TemplateSource(
    "task",
    "8" * 64,
    {"task/title.txt": "Call {{ contact.first_name }}", "task/text.txt": "About {{ event.order_id }}."},
)

TOLD = Campaign(
    name="told",
    topic="orders",
    trigger=event("order_placed", key="order_id"),
    steps=(
        Webhook("tell-warehouse", to="warehouse", template="body"),
        Slack("note", template="slack"),
        CrmTask("call", template="task", due=days(2)),
    ),
)


def any_template(name: str, purpose: Purpose) -> TemplateSource:
    """Return the template of a step by its name, else an email."""
    if name.startswith("_base"):
        return load_template("templates", name, purpose=purpose)
    return {"body": BODY, "slack": SLACK, "task": TASK}.get(name) or note(name, purpose)


@dataclass
class Keeper:
    """Keeps what it is given; `answers` may say something else: by key, by destination or for all ('')."""

    name: ClassVar[str] = "keeper"
    channel: str = "webhook"
    sent: list[Any] = field(default_factory=list)
    answers: dict[str, Outcome | Exception] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    destinations: Collection[str] = frozenset({"warehouse", "team"})

    @property
    def capabilities(self) -> Capabilities:
        """One channel."""
        return Capabilities(channel=self.channel)

    @classmethod
    def from_environment(cls) -> Self:
        return cls()

    def check(self) -> str:
        return "It keeps them."

    def close(self) -> None:
        pass

    def send(self, batch: Sequence[WebhookMessage | SlackNote | contracts.CrmTask]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for message in batch:
            answer: Outcome | Exception = Accepted(message.key)
            for asked in ("", getattr(message, "to", ""), message.key):
                answer = self.answers.get(asked, answer)
            if isinstance(answer, Exception) and not isinstance(answer, Outcome):
                raise answer
            if isinstance(answer, Accepted):
                with self.lock:
                    self.sent.append(message)
            outcomes.append(answer)
        return outcomes


class Crm(Keeper):
    """The same as a CRM."""

    name: ClassVar[str] = "crm"
    push = Keeper.send


@dataclass
class InternalStory(Story):
    """A story in which other systems are told as well."""

    webhooks: Any = field(default_factory=Keeper)
    slack: Any = field(default_factory=lambda: Keeper("slack"))
    crm: Any = field(default_factory=lambda: Crm("crm"))

    def engine(self) -> Engine:
        return Engine(
            self.database, self.sender, self.settings, self.load, clock=self.clock,
            others=(self.webhooks, self.slack, self.crm),
        )  # fmt: skip

    def runs(self, campaign: Campaign, *contacts: int) -> None:
        """Launch it, let everybody place an order, and run it."""
        self.launch(campaign)
        self.happened("order_placed", *contacts)
        self.run(campaign)
