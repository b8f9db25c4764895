"""Short words for what a provider tells of the messages of a story."""

import itertools
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from evergreet.contracts import Kind, ProviderEvent, Verdict
from evergreet.feedback.applying import Applied, apply_waiting
from evergreet.feedback.placing import read_places
from evergreet.feedback.storing import store
from evergreet.tokens import Tokens
from models import Event
from models import ProviderEvent as Stored
from tests.story import Story

VERDICTS = {
    Kind.HARD_BOUNCED: Verdict.INVALID,
    Kind.COMPLAINED: Verdict.COMPLAINED,
    Kind.UNSUBSCRIBED: Verdict.UNSUBSCRIBED,
    Kind.GROUP_UNSUBSCRIBED: Verdict.UNSUBSCRIBED_TOPIC,
}


@dataclass
class Provider:
    """Tells of messages in the name of the story's connector."""

    story: Story
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def event(self, kind: Kind, message: int | None = None, **more: Any) -> ProviderEvent:
        """Make an event about a ledger row (the first), as the provider of the row's connector would tell it."""
        with self.story.database.read() as connection:
            (place,) = read_places(connection, [message or self.story.messages[0].id])
        known: dict[str, Any] = {
            "id": f"p{next(self.numbers)}", "at": self.story.now, "raw": {"email": place.address},
            "row": place.message_id, "key": place.key, "address": place.address or "",
            "verdict": VERDICTS.get(kind, Verdict.NONE),
        }  # fmt: skip
        return ProviderEvent(kind=kind, **{**known, **more})

    def stores(self, *events: ProviderEvent, at: datetime | None = None) -> None:
        with self.story.database.write() as connection:
            store(connection, "recorder", events, at or self.story.now)

    def tells(self, *events: ProviderEvent) -> Applied:
        self.stores(*events)
        return self.apply()

    def apply(self) -> Applied:
        tokens = Tokens([key.get_secret_value() for key in self.story.settings.secret_keys])
        return apply_waiting(self.story.database, tokens, self.story.clock)

    @property
    def stored(self) -> list[Any]:
        return self.story.rows(Stored)

    @property
    def facts(self) -> list[Any]:
        return [row for row in self.story.rows(Event) if row.source.startswith("webhook:")]
