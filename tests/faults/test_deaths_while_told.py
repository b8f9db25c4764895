"""Death between storing what a provider tells and applying it: each event has its effect, and once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
from sqlalchemy import select
from sqlmodel import col

from evergreet.audit import audit
from evergreet.clock import FrozenClock
from evergreet.contracts import Capabilities, Kind, ProviderEvent, Verdict, WebhookRequest
from evergreet.feedback.placing import read_places
from evergreet.tokens import Tokens
from evergreet.web.webhooks import Inbox, Posted
from models import Event, Message, Suppression
from models import ProviderEvent as Stored
from tests.conftest import NOW
from tests.faults.children import Boundaries, When
from tests.faults.forks import ForkServer
from tests.faults.scenario import Speak
from tests.faults.shop import Place
from tests.faults.stores import Store, opened
from tests.faults.test_deaths_while_asking import order, send


class Told:
    """A provider whose word is taken: a message was opened, and its address does not exist any more."""

    name: ClassVar[str] = "told"
    capabilities: ClassVar[Capabilities] = Capabilities(webhooks=True)

    def __init__(self, row: int, key: str) -> None:
        self.about: Mapping[str, Any] = {"at": NOW, "raw": {}, "row": row, "key": key}

    @classmethod
    def from_environment(cls) -> Self:
        raise NotImplementedError

    def verify(self, request: WebhookRequest) -> None: ...

    def check(self) -> str:
        return "here"

    def close(self) -> None: ...

    def parse(self, request: WebhookRequest) -> list[ProviderEvent]:
        return [
            ProviderEvent("e1", Kind.OPENED, **self.about),
            ProviderEvent("e2", Kind.HARD_BOUNCED, verdict=Verdict.INVALID, **self.about),
        ]


def tell(speak: Speak, place: Place, boundaries: Boundaries) -> list[str]:
    """Take a webhook and apply what it tells, as the web application does, and die where it is asked."""
    boundaries.dying = lambda label: speak(("killed", label))
    boundaries.install()
    with opened(place.url) as database:
        with database.read() as connection:
            (row,) = read_places(connection, [1])
        source = Told(row.message_id, row.key)
        inbox = Inbox(database, Tokens(["test-key"]), FrozenClock(NOW), lambda name: source, {})
        assert inbox.take("told", source, Posted({}, b"")) == 200
        inbox.apply()
    return boundaries.labels


@pytest.mark.parametrize(
    ("boundary", "when"),
    [("webhooks.take", "after"), ("applying.apply_waiting", "before"), ("applying.apply_waiting", "after")],
)
def test_death_between_storing_and_applying(store: Store, tmp_path: Path, boundary: str, when: When) -> None:
    with ForkServer() as server:
        place = Place(store.copy(), 0)
        order(place)
        assert server.run(send, place, tmp_path, Boundaries(), NOW)[0] == "done"
        assert server.run(tell, place, Boundaries(boundary, when))[0] == "killed"
        store.deserted(place.url)
        with opened(place.url) as database, database.read() as connection:
            waiting = [row.applied_at is None for row in connection.execute(select(Stored))]
            assert waiting == [(boundary, when) != ("applying.apply_waiting", "after")] * 2
        assert server.run(tell, place, Boundaries())[0] == "done"  # as it got no answer the provider tells again
        with opened(place.url) as database:
            with database.read() as connection:
                assert [row.result for row in connection.execute(select(Stored))] == ["applied"] * 2
                assert [row.address for row in connection.execute(select(Suppression))] == ["ana@example.org"]
                facts = [row.name for row in connection.execute(select(Event)) if row.source == "webhook:told"]
                assert sorted(facts) == ["email_bounced", "email_opened"]
                assert (
                    connection.execute(select(col(Message.delivery)).where(col(Message.id) == 1)).scalar_one()
                    == "hard_bounced"
                )
            assert all(one.clean for one in audit(database, FrozenClock(NOW)))
        store.drop(place.url)
