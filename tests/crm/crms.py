"""A CRM in memory: records in the order of their changes, a page at a time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, Self

from evergreet.contracts import Capabilities, CrmContact, CrmPage
from evergreet.errors import ConnectorError
from tests.conftest import NOW


def record(number: str, at: datetime = NOW, email: str = "maya@example.com", **details: Any) -> CrmContact:
    """Return a record with an address."""
    return CrmContact(number, at, email, details)


class Crm:
    """Its cursor is the number of changes that were told; `faults` are raised first, one for each question."""

    name: ClassVar[str] = "acme"
    capabilities: ClassVar[Capabilities] = Capabilities(channel="crm")

    def __init__(self, *records: CrmContact, page: int = 2) -> None:
        self.changes = list(records)
        self.page = page
        self.faults: list[ConnectorError] = []
        self.unreadable: Sequence[tuple[str, str]] = ()
        self.asked: list[str] = []

    @classmethod
    def from_environment(cls) -> Self:
        """Build an empty one."""
        return cls()

    def check(self) -> str:
        """Say that it is there."""
        return "here"

    def close(self) -> None:
        """Nothing is open."""

    def changed_since(self, cursor: str) -> CrmPage:
        """Return the next changes."""
        self.asked.append(cursor)
        if self.faults:
            raise self.faults.pop(0)
        start = int(cursor or 0)
        told = self.changes[start : start + self.page]
        end = start + len(told)
        return CrmPage(tuple(told), str(end), end < len(self.changes), tuple(self.unreadable))
