"""Death at any boundary of a run by a provider with idempotency keys, and of the repeats that end its doubts.

It does what comes with one key once, so nothing has to stay in doubt: in the end everybody has the one mail. Only a
repeat that it refuses as a whole says nothing of the first time.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from connectors.calling import make_client
from connectors.email.resend import Resend
from connectors.email.resend_settings import ResendSettings
from evergreet.audit import audit
from evergreet.campaign import Options
from evergreet.campaigns import launch
from evergreet.clock import FrozenClock
from evergreet.engine import Engine
from evergreet.reconcile import reconcile
from tests.conftest import NOW
from tests.connectors.email.resend_sink import ResendSink
from tests.connectors.provider_sink import Told
from tests.faults.children import Boundaries
from tests.faults.forks import ForkServer
from tests.faults.scenario import Speak, ledger
from tests.faults.shop import NEWS, Place, happened, note, person
from tests.faults.stores import Store, opened
from tests.faults.visits import visits

KEY = "re_tests"
LATER = NOW + timedelta(hours=1)
GOOD = ("ana", "ben", "cem", "dora", "eli", "gus")
REFUSED = "fay"
EVERYBODY = (*GOOD[:3], REFUSED, *GOOD[3:])
AROUND = ("delivery._settle", "delivery._divided", "repeats.repeat", "reconcile._resend", "the content")
Seen = tuple[dict[str, str], list[str]]


def judge(batch: list[dict[str, Any]]) -> Told | None:
    """Refuse Fay: alone for good, among others all of them."""
    if not any(REFUSED in str(mail["to"]) for mail in batch):
        return None
    return Told(422, {"statusCode": 422, "name": "validation_error", "message": "Invalid `to` field."})


@pytest.fixture
def provider() -> Iterator[ResendSink]:
    with ResendSink(KEY) as running:
        running.judge = judge
        yield running
        assert running.faults == []


def resend(place: Place) -> Resend:
    """The real connector."""
    settings = ResendSettings(_env_file=None, api_key=SecretStr(KEY), base_url=f"http://127.0.0.1:{place.port}")
    return Resend(settings, make_client(1))


def order(place: Place) -> None:
    """Everybody has ordered."""
    with opened(place.url) as database:
        with database.write() as connection:
            for name in EVERYBODY:
                person(connection, name)
        launch(database, NEWS, Options(), note, clock=FrozenClock(NOW), actor="test")
        happened(database, "order_placed", list(EVERYBODY))


def send(speak: Speak, place: Place, boundaries: Boundaries) -> list[str]:
    """Send what is due, and die where it is asked."""
    boundaries.dying = lambda label: speak(("killed", label))
    boundaries.install()
    with opened(place.url) as database:
        Engine(database, resend(place), place.settings, note, clock=FrozenClock(NOW)).run(NEWS, Options())
    return boundaries.labels


def resolve(speak: Speak, place: Place, boundaries: Boundaries) -> list[str]:
    """Repeat what is in doubt, and die where it is asked."""
    boundaries.dying = lambda label: speak(("killed", label))
    boundaries.install()
    with opened(place.url) as database:
        reconcile(database, resend(place), place.settings, FrozenClock(LATER))
    return boundaries.labels


def go_on(_speak: Speak, place: Place) -> Seen:
    """Start again after a death: repeat, send, repeat; return everybody's state, and what the audit finds."""
    with opened(place.url) as database, closing(resend(place)) as sender:
        reconcile(database, sender, place.settings, FrozenClock(LATER))
        Engine(database, sender, place.settings, note, clock=FrozenClock(LATER)).run(NEWS, Options())
        reconcile(database, sender, place.settings, FrozenClock(LATER))
        findings = [finding for one in audit(database, FrozenClock(LATER)) for finding in one.findings]
        return {row["who"]: row["state"] for row in ledger(database).values()}, findings


class Life:
    """One shop, begun anew for each death."""

    def __init__(self, store: Store, server: ForkServer, provider: ResendSink) -> None:
        self.store, self.server, self.provider = store, server, provider
        self.base = Place(store.copy(), provider.server_address[1], window=4)
        self.booked: list[dict[str, Any]] = []
        self.answered: dict[str, tuple[bytes, Told]] = {}
        order(self.base)
        place = self.begun()
        server.warm_up(go_on, place)
        store.drop(place.url)

    def begun(self) -> Place:
        """The shop and the provider's books as they were remembered."""
        self.provider.mails[:] = self.booked
        self.provider.answers = dict(self.answered)
        return replace(self.base, url=self.store.copy(self.base.url))

    def go_on_from(self, place: Place) -> None:
        """Begin each life here from now on."""
        with self.provider.lock:
            self.booked, self.answered = list(self.provider.mails), dict(self.provider.answers)
        self.store.drop(self.base.url)
        self.base = place

    def wrong_after(self, place: Place) -> str:
        """Start again after a death; say what is wrong then."""
        self.store.deserted(place.url)
        _, (states, findings) = self.server.run(go_on, place)
        self.store.drop(place.url)
        with self.provider.lock:
            mails = Counter(mail["to"][0].split("@")[0].rpartition("<")[2] for mail in self.provider.mails)
        in_doubt = {who for who, state in states.items() if state == "unknown"}
        expected = dict.fromkeys(GOOD, "accepted") | {REFUSED: "failed"}
        wrong = [f"{who} is {state}" for who, state in states.items() if state != expected[who] and who not in in_doubt]
        if in_doubt and REFUSED not in in_doubt:  # a repeat that is refused as a whole says nothing of the first time
            wrong.append(f"in doubt: {in_doubt}")
        wrong += [f"{who} got {mails[who]}" for who in GOOD if mails[who] != 1 and who not in in_doubt]
        wrong += [f"{who} got {count}" for who, count in mails.items() if count > 1]
        return "; ".join([*wrong, *findings])


def test_nobody_is_missed_or_written_to_twice_by_a_provider_with_keys(store: Store, provider: ResendSink) -> None:
    with ForkServer() as server:
        life = Life(store, server, provider)
        place = life.begun()
        _, labels = server.run(send, place, Boundaries())
        assert {"commit of delivery._settle", "commit of delivery._divided", "write of the content"} <= set(labels)
        assert life.wrong_after(place) == ""
        wrong = {}
        for number, when in visits(labels, of=lambda label: label.endswith(AROUND)):
            place = life.begun()
            assert server.run(send, place, Boundaries(number, when)) == ("killed", labels[number])
            wrong[f"sending, {when} {labels[number]} ({number})"] = life.wrong_after(place)

        place = life.begun()
        assert server.run(send, place, Boundaries("settle", "before"))[0] == "killed"
        store.deserted(place.url)
        life.go_on_from(place)
        place = life.begun()
        _, labels = server.run(resolve, place, Boundaries())
        assert {"commit of repeats.repeat", "write of the content"} <= set(labels)
        for number, when in visits(labels, of=lambda label: label.endswith(AROUND)):
            place = life.begun()
            assert server.run(resolve, place, Boundaries(number, when)) == ("killed", labels[number])
            wrong[f"repeating, {when} {labels[number]} ({number})"] = life.wrong_after(place)
        store.drop(life.base.url)
    assert {where: what for where, what in wrong.items() if what} == {}
