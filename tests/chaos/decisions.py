"""What people decide while workers are at work, and what was in the ledger at the very moment they did.

A decision takes the locks that an intent takes. So the attempts it sees are all that came before it, and whatever it
forbids has no attempt after them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError
from sqlmodel import col

from evergreet.consent import suppress, unsubscribe
from evergreet.database import Database
from evergreet.erasure import erase
from evergreet.errors import EvergreetError
from evergreet.tokens import Tokens
from models import Contact, Message
from tests.chaos.scene import Jumping, address

DECISIONS = ("unsubscribed", "suppressed", "erased")


@dataclass
class Decisions:
    """Who decided what, and how many attempts each of their messages had by then."""

    tried: dict[str, set[str]] = field(default_factory=dict)
    """Also those whose COMMIT was lost: nobody can say whether they hold."""
    made: dict[str, tuple[str, dict[int, int]]] = field(default_factory=dict)

    def decide(self, database: Database, clock: Jumping, tokens: Tokens, name: str, kind: str) -> bool:
        """Decide for somebody; return whether it holds for certain."""
        self.tried.setdefault(name, set()).add(kind)
        try:
            with database.write() as connection:
                attempts = self._write(connection, clock, tokens, name, kind)
        except (EvergreetError, DBAPIError):  # a fault was faster
            return False
        self.made[name] = (kind, attempts)
        return True

    def _write(
        self, connection: Connection, clock: Jumping, tokens: Tokens, name: str, kind: str
    ) -> dict[int, int]:  # fmt: skip
        now = clock.now(connection)
        contact = connection.execute(select(col(Contact.id)).where(col(Contact.source_id) == name)).scalar_one()
        decide: dict[str, Callable[[], object]] = {
            "unsubscribed": lambda: unsubscribe(connection, contact, "news", at=now, source="chaos"),
            "suppressed": lambda: suppress(
                connection, address(name), scope="all", reason="complaint", source="chaos", at=now
            ),
            "erased": lambda: erase(connection, contact, tokens=tokens, at=now, actor="chaos"),
        }  # fmt: skip
        decide[kind]()
        seen = select(col(Message.id), col(Message.attempts)).where(col(Message.contact_id) == contact)
        return dict(connection.execute(seen).tuples().all())
