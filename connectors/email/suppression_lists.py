"""Reading whom a provider does not write to any more: list by list, page by page, and on after an error."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from evergreet.contracts import Suppressed
from evergreet.errors import ConnectorError


class Reading(ABC, Iterator[Suppressed]):
    """Goes through all lists. After an error it may be asked again, and goes on with the page that was not read."""

    def __init__(self) -> None:
        self._rest: Iterator[Suppressed] | None = None

    def __next__(self) -> Suppressed:
        if self._rest is None:
            self._rest = self._from_here()
        try:
            return next(self._rest)
        except ConnectorError:
            self._rest = None
            raise

    @abstractmethod
    def _from_here(self) -> Iterator[Suppressed]:
        """Yield what was not read so far; before a page is yielded it counts as read."""
