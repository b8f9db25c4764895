"""What SendGrid tells afterwards: at once, late, twice, out of order, or never; read as the connector reads it."""

import json
import random
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.exc import DBAPIError

from evergreet.contracts import WebhookRequest, WebhookSource
from evergreet.database import Database
from evergreet.errors import EvergreetError
from evergreet.feedback.applying import apply_waiting
from evergreet.feedback.storing import store
from evergreet.tokens import Tokens
from tests.chaos.faults import Log
from tests.chaos.provider import SendGridServer
from tests.chaos.scene import Scene

EARLY_SECONDS = 0.05


@dataclass
class Webhooks:
    """The events of a round on their way."""

    sink: SendGridServer
    chance: random.Random
    log: Log
    late: list[dict[str, Any]] = field(default_factory=list)
    resolved: int = 0
    _seen: int = 0

    def tell(self, database: Database, scene: Scene, *, last: bool = False) -> None:
        """Post what happened since the last time, and some of what is late; at last all of that."""
        fresh = self.sink.events[self._seen :]
        self._seen += len(fresh)
        now, told = time.monotonic(), []
        for event in fresh:
            kind = self.chance.choices(("", "late", "doubled", "lost"), (5, 3, 2, 3))[0]
            if kind:
                self.log.record(f"webhook {kind}", event["email"])
            elif now - event["booked"] < EARLY_SECONDS:
                self.log.record("webhook early", event["email"])
            if kind == "late":
                self.late.append(event)
            elif kind != "lost":
                told += [event] * (2 if kind == "doubled" else 1)
        due = len(self.late) if last else self.chance.randint(0, len(self.late))
        told += self.late[:due]
        if len(told) > 1:
            self.chance.shuffle(told)
            self.log.record("webhook out of order", f"{len(told)} events")
        if not told or not self._post(database, scene, told):
            return
        del self.late[:due]

    def _post(self, database: Database, scene: Scene, events: list[dict[str, Any]]) -> bool:
        body = json.dumps(events).encode()
        with closing(scene.sender()) as source, suppress(EvergreetError, DBAPIError):
            assert isinstance(source, WebhookSource)
            with database.write() as connection:
                now = scene.clock.now(connection)
                store(connection, source.name, source.parse(WebhookRequest({}, body, now)), now)
            self.resolved += apply_waiting(database, Tokens(scene.settings.signing_keys), scene.clock).resolved
            return True
        return False
