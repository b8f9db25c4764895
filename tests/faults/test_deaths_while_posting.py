"""Death while webhooks are posted: the receiver's books and the ledger's agree; a repeat is one that was asked for."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from connectors.calling import make_client
from connectors.internal.webhook import Webhook as Connector
from connectors.internal.webhook_settings import WebhookSettings
from evergreet.audit import audit
from evergreet.campaign import Campaign, Options, Purpose, Webhook, event
from evergreet.campaigns import launch
from evergreet.clock import FrozenClock
from evergreet.durations import minutes
from evergreet.engine import Engine
from evergreet.reconcile import reconcile
from evergreet.template_sources import TemplateSource
from tests.conftest import NOW
from tests.connectors.internal.receiver import PATH, SECRET, Receiver
from tests.faults.books import disagreements
from tests.faults.children import Boundaries
from tests.faults.forks import ForkServer
from tests.faults.scenario import Speak, ledger
from tests.faults.shop import Place, happened, person
from tests.faults.stores import Store, opened
from tests.story import Recorder

PEOPLE = ("ana", "ben", "cem")
LATER = NOW + timedelta(minutes=20)
BODY = TemplateSource("body", "6" * 64, {"body/body.json": '{"name": {{ contact.first_name }}}'})
TELL = Webhook("tell", to="warehouse", template="body")
ONCE = Campaign(name="once", trigger=event("order_placed"), steps=(TELL,))
AGAIN = Campaign(name="again", trigger=event("order_placed"), steps=(replace(TELL, resend_after=minutes(10)),))
DEATHS = ("commit of ledger._write_intent", "write of the content", "write of the content", "commit of settling.settle")
"""What one message takes, in this order: its intent, the head of the request, its body, and what became of it."""


def load(_name: str, _purpose: Purpose) -> TemplateSource:
    """One small body."""
    return BODY


def prepare(_speak: Speak, place: Place) -> None:
    """Everybody has ordered."""
    with opened(place.url) as database:
        with database.write() as connection:
            for name in PEOPLE:
                person(connection, name, address=False)
        for campaign in (ONCE, AGAIN):
            launch(database, campaign, Options(), load, clock=FrozenClock(NOW), actor="test")
        happened(database, "order_placed", PEOPLE)


def post(speak: Speak, place: Place, boundaries: Boundaries) -> list[str]:
    """Post what is due; die where it is asked, and return the boundaries that were passed."""
    boundaries.dying = lambda label: speak(("killed", label))
    boundaries.install()
    go_on(speak, place, NOW)
    return boundaries.labels


def go_on(_speak: Speak, place: Place, now: datetime) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Repeat what asks for it, post what is due; return the ledger, and what the audit finds."""
    clock = FrozenClock(now)
    to = {"warehouse": {"url": f"http://127.0.0.1:{place.port}{PATH}", "secret": SECRET, "private": True}}
    settings = WebhookSettings.model_validate({"to": to})
    with opened(place.url) as database, closing(Connector(settings, make_client(1))) as hooks:
        engine = Engine(database, Recorder(), place.settings, load, clock=clock, others=(hooks,))
        if now > NOW:
            reconcile(database, hooks, place.settings, clock)
        for campaign in (ONCE, AGAIN):
            engine.run(campaign, Options())
        return ledger(database), [finding for one in audit(database, clock) for finding in one.findings]


def look(_speak: Speak, place: Place) -> dict[str, Any]:
    """Return the ledger as a death has left it."""
    with opened(place.url) as database:
        return ledger(database)


def deaths(labels: Sequence[str]) -> list[int]:
    """Return where to die with the first message of each campaign: before and after its body has gone."""
    intents = [number for number, label in enumerate(labels) if label == DEATHS[0]]
    assert len(intents) == 2 * len(PEOPLE)
    once, again = intents[0], intents[len(PEOPLE)]
    for first in (once, again):
        assert tuple(labels[first : first + len(DEATHS)]) == DEATHS
    return [once + 1, once + 2, again + 2]


def test_each_row_was_taken_at_most_once_for_each_attempt_that_it_shows(sqlite_store: Store) -> None:
    with ForkServer() as server, Receiver() as receiver:
        base = Place(sqlite_store.copy(), receiver.server_address[1])
        assert server.run(prepare, base)[0] == "done"
        server.warm_up(go_on, replace(base, url=sqlite_store.copy(base.url)), LATER)
        for number in deaths(server.run(post, replace(base, url=sqlite_store.copy(base.url)), Boundaries())[1]):
            with receiver.lock:
                receiver.taken.clear()
            place = replace(base, url=sqlite_store.copy(base.url))
            said, label = server.run(post, place, Boundaries(number, "after"))
            assert said == "killed"
            in_hand = {key for key, row in server.run(look, place)[1].items() if row["state"] == "sending"}
            rows, findings = server.run(go_on, place, LATER)[1]
            with receiver.lock:
                taken = Counter(receiver.taken)
            assert findings + receiver.faults == [], (number, label)
            once = {key: row for key, row in rows.items() if row["step"] == "once/tell"}
            again = rows.keys() - once.keys()
            known = Counter({key: count for key, count in taken.items() if key not in again})
            assert disagreements(once, known, in_hand) == [], (number, label)
            for key in again:
                assert rows[key]["state"] == "accepted", (number, label)
                assert 1 <= taken[key] <= rows[key]["attempts"], (number, label)
            assert len(once) == len(again) == len(PEOPLE)
            sqlite_store.drop(place.url)
