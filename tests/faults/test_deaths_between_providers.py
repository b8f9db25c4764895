"""Death between two providers: what the first certainly did not take goes to the second once, after a restart."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta

from pydantic import SecretStr

from connectors.calling import make_client
from connectors.email.sendgrid import SendGrid
from connectors.email.sendgrid_settings import SendGridSettings
from evergreet.audit import audit
from evergreet.campaign import Options
from evergreet.campaigns import launch
from evergreet.clock import FrozenClock
from evergreet.engine import Engine
from evergreet.routing import Provider, Route
from tests.conftest import NOW
from tests.faults.books import disagreements
from tests.faults.children import Boundaries
from tests.faults.forks import ForkServer
from tests.faults.scenario import Speak, ledger
from tests.faults.shop import NEWS, Place, happened, note, person
from tests.faults.sink import Sink
from tests.faults.stores import Store, opened

PEOPLE = ("ana", "ben", "cem")
DEATHS = ("commit of settling.settle", "write of DATA", "write of the content")


def prepare(speak: Speak, place: Place) -> None:
    """Three people have ordered, and a first run has compiled what runs need."""
    with opened(place.url) as database:
        with database.write() as connection:
            for name in PEOPLE:
                person(connection, name)
        launch(database, NEWS, Options(), note, clock=FrozenClock(NOW), actor="test")
    send(speak, place, Boundaries(), 0)
    with opened(place.url) as database:
        happened(database, "order_placed", PEOPLE)


def send(speak: Speak, place: Place, boundaries: Boundaries, days: int) -> list[str]:
    """Run with a provider that refuses connections before the mail server; die where it is asked."""
    boundaries.dying = lambda label: speak(("killed", label))
    boundaries.install()
    with opened(place.url) as database, _sendgrid() as first, closing(place.smtp()) as second:
        clock = FrozenClock(NOW + timedelta(days=days))
        route = Route((Provider(first), Provider(second)))
        Engine(database, route, place.settings, note, clock=clock).run(NEWS, Options())
    return boundaries.labels


@contextmanager
def _sendgrid() -> Iterator[SendGrid]:
    """A SendGrid that nobody is at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    settings = SendGridSettings(api_key=SecretStr("SG.test"), base_url=f"http://127.0.0.1:{port}", window=4)
    with closing(SendGrid(settings, make_client(1))) as sender:
        yield sender


def look(_speak: Speak, place: Place) -> tuple[dict[str, dict[str, object]], list[str]]:
    """Return the ledger, and what the audit finds."""
    with opened(place.url) as database:
        findings = [
            finding for one in audit(database, FrozenClock(NOW + timedelta(days=1))) for finding in one.findings
        ]
        return ledger(database), findings


def test_who_was_on_the_way_to_the_second_provider_gets_it_once(sqlite_store: Store) -> None:
    with ForkServer() as server, Sink() as sink:
        base = Place(sqlite_store.copy(), sink.port)
        assert server.run(prepare, base)[0] == "done"
        for place_of_death in DEATHS:
            sink.forget()
            place = replace(base, url=sqlite_store.copy(base.url))
            killed, label = server.run(send, place, Boundaries(place_of_death, "after"), 0)
            assert (killed, label) == ("killed", place_of_death)
            sink.quiet()
            rows, findings = server.run(look, place)[1]
            assert findings == []
            in_flight = {key for key, row in rows.items() if row["state"] == "sending"}
            assert server.run(send, place, Boundaries(), 1)[0] == "done"
            sink.quiet()
            rows, findings = server.run(look, place)[1]
            assert findings + disagreements(rows, sink.by_key, in_flight) == [], place_of_death
            sqlite_store.drop(place.url)
