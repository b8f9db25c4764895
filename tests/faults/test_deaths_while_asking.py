"""Death before or after a COMMIT of a reconciliation that asks the provider: nothing is lost or sent twice."""

import shutil
import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from connectors.email.outbox import Outbox, OutboxSettings
from evergreet.audit import audit
from evergreet.campaign import Options
from evergreet.campaigns import launch
from evergreet.clock import FrozenClock
from evergreet.engine import Engine
from evergreet.reconcile import reconcile
from tests.conftest import NOW
from tests.faults.children import Boundaries
from tests.faults.forks import ForkServer
from tests.faults.scenario import Speak, ledger
from tests.faults.shop import RECEIPTS, Place, happened, note, person
from tests.faults.stores import Store, opened
from tests.faults.visits import visits

Seen = tuple[dict[str, str], list[str]]
LATER = NOW + timedelta(hours=1)


def order(place: Place) -> None:
    """Ana, Ben and Cem have ordered."""
    with opened(place.url) as database:
        with database.write() as connection:
            for name in ("ana", "ben", "cem"):
                person(connection, name)
        launch(database, RECEIPTS, Options(), note, clock=FrozenClock(NOW), actor="test")
        happened(database, "order_placed", ["ana", "ben", "cem"])


def send(speak: Speak, place: Place, folder: Path, boundaries: Boundaries, at: datetime) -> None:
    """Send to the outbox, and die where it is asked."""
    boundaries.dying = lambda label: speak(("killed", label))
    boundaries.install()
    with opened(place.url) as database:
        outbox = Outbox(OutboxSettings(dir=folder))
        Engine(database, outbox, place.settings, note, clock=FrozenClock(at)).run(RECEIPTS, Options())


def ask(speak: Speak, place: Place, folder: Path, boundaries: Boundaries) -> list[str]:
    """Look into the outbox for what is in doubt, and die where it is asked."""
    boundaries.dying = lambda label: speak(("killed", label))
    boundaries.install()
    with opened(place.url) as database:
        reconcile(database, Outbox(OutboxSettings(dir=folder)), place.settings, FrozenClock(LATER))
    return boundaries.labels


def read(_speak: Speak, place: Place) -> Seen:
    """Return everybody's state, and what the audit finds."""
    with opened(place.url) as database:
        findings = [finding for one in audit(database, FrozenClock(LATER)) for finding in one.findings]
        return {row["who"]: row["state"] for row in ledger(database).values()}, findings


def test_death_at_any_commit_of_a_reconciliation(store: Store, tmp_path: Path) -> None:
    """Of two rows in doubt the provider has the first; the third person waits for a message as yet."""
    with ForkServer() as server:
        place, base = Place(store.copy(), 0), tmp_path / "base"
        order(place)
        for boundary, when in (("settle", "before"), ("write_intent", "after"), ("take_in_hand", "before")):
            assert server.run(send, place, base, Boundaries(boundary, when), NOW)[0] == "killed"  # type: ignore[arg-type]
            store.deserted(place.url)
        doubtful: Seen = ({"ana": "unknown", "ben": "unknown", "cem": "planned"}, [])
        assert server.run(read, place) == ("done", doubtful)

        def fresh() -> tuple[Place, Path]:
            folder = tmp_path / uuid.uuid4().hex
            shutil.copytree(base, folder)
            return replace(place, url=store.copy(place.url)), folder

        copy, folder = fresh()
        _, labels = server.run(ask, copy, folder, Boundaries())
        assert "commit of reconcile._find" in labels
        assert server.run(read, copy) == ("done", ({"ana": "accepted", "ben": "planned", "cem": "planned"}, []))
        store.drop(copy.url)
        for number, when in visits(labels):
            copy, folder = fresh()
            assert server.run(ask, copy, folder, Boundaries(number, when)) == ("killed", labels[number])
            store.deserted(copy.url)
            assert server.run(ask, copy, folder, Boundaries())[0] == "done"
            assert server.run(send, copy, folder, Boundaries(), LATER)[0] == "done"
            everybody = {"ana": "accepted", "ben": "accepted", "cem": "accepted"}
            assert server.run(read, copy) == ("done", (everybody, []))
            assert len(list((folder / "new").iterdir())) == 3
            store.drop(copy.url)
        store.drop(place.url)
