"""Store what a CRM tells by webhook: the contacts that it names, as they were read then. A pull reads them again."""

from collections.abc import Sequence

from evergreet.clock import Clock
from evergreet.contracts import CrmContact
from evergreet.crm.pulling import TRIES
from evergreet.crm.storing import Rules, Stored, store
from evergreet.database import Database
from evergreet.importing.storing import Raced


def store_told(database: Database, source: str, contacts: Sequence[CrmContact], rules: Rules, clock: Clock) -> Stored:
    """Store contacts of a CRM; its cursor stays where it is."""
    attempt = 1
    while True:
        try:
            with database.write() as connection:
                return store(connection, source, contacts, rules, clock, clock.now(connection))
        except Raced:
            if attempt == TRIES:
                raise
            attempt += 1
