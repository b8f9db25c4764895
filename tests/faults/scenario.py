"""What child processes do with the shop: set it up, play a day, and look at the ledger after a crash."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

from sqlalchemy import select
from sqlmodel import col

from evergreet.audit import audit
from evergreet.balance import Report
from evergreet.campaign import Campaign, Options
from evergreet.campaigns import launch
from evergreet.clock import Clock, FrozenClock
from evergreet.composing import message_key
from evergreet.database import Database
from evergreet.engine import Engine
from evergreet.reconcile import reconcile
from models import CampaignRow, Contact, Message
from tests.conftest import NOW
from tests.faults.children import Boundaries
from tests.faults.shop import HELLO, LATER, RECEIPTS, Place, happened, note, person
from tests.faults.stores import opened

Speak = Callable[[Any], None]
FIRST, SECOND = "first day", "second day"
PEOPLE = ("ana", "dora", "eli", "fay", "gus", "hal", "ida")


def prepare(speak: Speak, place: Place, boundaries: Boundaries) -> None:
    """Store the shop, launch the receipts, and die with Zoe's receipt in hand and Yan's in the same chunk."""
    database = Database(place.url)
    clock = FrozenClock(NOW)
    with database.write() as connection:
        person(connection, "zoe")
        person(connection, "yan")
        person(connection, "ana", quiet=False)
        person(connection, "dora", consented=False)
        person(connection, "eli", timezone="Pacific/Auckland")
        person(connection, "fay")
        person(connection, "gus")
        person(connection, "hal", city=False)
        person(connection, "ida", address=False)
    launch(database, RECEIPTS, Options(), note, clock=clock, actor="test")
    happened(database, "order_placed", ["zoe", "yan"])
    boundaries.dying = lambda label: speak(("killed", label))
    boundaries.install()
    run(database, place, clock, RECEIPTS)


def run(database: Database, place: Place, clock: Clock, *campaigns: Campaign, **options: Any) -> list[Report]:
    """Run campaigns through the real connector."""
    with closing(place.smtp()) as sender:
        engine = Engine(database, sender, place.settings, note, clock=clock)
        return [engine.run(campaign, Options(**options)) for campaign in campaigns]


def first_day(speak: Speak, place: Place, boundaries: Boundaries) -> list[str]:
    """Launch, and send to whom it is day; die where it is asked, and return the boundaries that were passed."""
    boundaries.phase, boundaries.dying = FIRST, lambda label: speak(("killed", label))
    boundaries.install()
    with opened(place.url) as database:
        clock = FrozenClock(NOW)
        begin(database, clock)
        run(database, place, clock, RECEIPTS, HELLO)
    return boundaries.labels


def second_day(speak: Speak, place: Place, boundaries: Boundaries) -> list[str]:
    """What was put off comes due, and so does the second step."""
    boundaries.phase, boundaries.dying = SECOND, lambda label: speak(("killed", label))
    boundaries.install()
    with opened(place.url) as database:
        end(database, place, HELLO)
    return boundaries.labels


def begin(database: Database, clock: Clock) -> None:
    """Launch the second campaign and store what its people did; all of it may be done again."""
    launch(database, HELLO, Options(), note, clock=clock, actor="test")
    happened(database, "signed_up", PEOPLE)


def end(database: Database, place: Place, *campaigns: Campaign) -> None:
    """Run on the second day, and reconcile."""
    clock = FrozenClock(NOW + LATER)
    run(database, place, clock, *campaigns)
    with closing(place.smtp()) as sender:
        reconcile(database, sender, place.settings, clock)


def recover(_speak: Speak, place: Place, phase: str) -> dict[str, Any]:
    """Look at what a crash left behind, go on until everything is due and done, and look once more."""
    clock = FrozenClock(NOW if phase == FIRST else NOW + LATER)
    with opened(place.url) as database:
        crashed, findings = ledger(database), audited(database, clock)
        if phase == FIRST:
            begin(database, clock)
            end(database, place, RECEIPTS, HELLO)
        else:
            end(database, place, HELLO)
        clock = FrozenClock(NOW + LATER)
        return {
            "crashed": crashed, "findings": findings,
            "rows": ledger(database), "findings_at_the_end": audited(database, clock),
        }  # fmt: skip


def audited(database: Database, clock: Clock) -> list[str]:
    """Return what the audit finds."""
    return [finding for one in audit(database, clock) for finding in (*one.findings, *_sum(one))]


def _sum(one: Any) -> list[str]:
    return [] if one.due == one.in_ledger else [f"{one.campaign}: {one.due} due, {one.in_ledger} in the ledger"]


def ledger(database: Database) -> dict[str, dict[str, Any]]:
    """Return the messages by the key they have outside."""
    with database.read() as connection:
        rows = connection.execute(
            select(
                col(Message.step_key), col(Message.occurrence), col(Message.state), col(Message.reason),
                col(Message.attempts), col(CampaignRow.name), col(Contact.source), col(Contact.source_id),
            )
            .join(CampaignRow, col(CampaignRow.id) == col(Message.campaign_id))
            .join(Contact, col(Contact.id) == col(Message.contact_id))
        ).all()  # fmt: skip
    return {
        message_key(row.name, row.step_key, row.occurrence, f"{row.source}:{row.source_id}"): {
            "who": row.source_id, "step": f"{row.name}/{row.step_key}", "state": row.state, "reason": row.reason,
            "attempts": row.attempts,
        }
        for row in rows
    }  # fmt: skip
