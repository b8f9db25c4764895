"""The switchboard of a run: which providers of a route may be asked now."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from evergreet.breakers import Breaker, answer, fail, heard, read_breakers, take_turn
from evergreet.contracts import Outcome
from evergreet.ledger import Admit
from evergreet.routing import Provider, Route
from evergreet.settings import Settings
from evergreet.settling import Note


class Switchboard:
    """Knows which providers of one route are out, and why, and so who is asked next.

    What it knows of the store is as old as the reading of a chunk; the transactions of the windows ask again where it
    matters.
    """

    def __init__(self, route: Route, settings: Settings) -> None:
        self.route = route
        self.settings = settings
        self.fault: str | None = None
        """What is wrong with the settings of the only provider; with several the breaker knows."""
        self._breakers: dict[str, Breaker] = {}
        self._now: datetime | None = None
        self._in_turn: set[str] = set()
        """Connectors to which the one window after a pause is on its way."""

    def refresh(self, connection: Connection, now: datetime) -> None:
        """Look who is out as of now."""
        self._now = now
        self._breakers = read_breakers(connection)

    def may(self, provider: Provider) -> bool:
        """Whether it may be asked now."""
        if self.fault is not None:
            return False
        known = self._breakers.get(provider.name)
        if known is None or known.until is None:
            return True
        return self._now is not None and known.until <= self._now and provider.name not in self._in_turn

    @property
    def anybody(self) -> bool:
        """Whether there is a provider that may be asked now."""
        return any(self.may(provider) for provider in self.route.providers)

    def choose(self, order: Sequence[Provider], refused: Collection[str]) -> Provider | None:
        """Return the first of these that may be asked and has not refused; None where there is none."""
        for provider in order:
            if provider.name not in refused and self.may(provider):
                return provider
        return None

    @property
    def halted(self) -> str | None:
        """Say why nobody may be asked, where that is a fault of ours with every provider."""
        if self.fault is not None:
            return self.fault
        known = [self._breakers.get(provider.name) for provider in self.route.providers]
        faults = [one.reason for one in known if one is not None and one.fault and one.until is not None]
        return "; ".join(faults) if len(faults) == len(known) and not self.anybody else None

    def admit(self, provider: Provider) -> Admit | None:
        """Return what an intent for it is to ask before it is written; None in nearly all cases."""
        known = self._breakers.get(provider.name)
        if known is None or known.until is None:
            return None

        def one_window(connection: Connection, going: list[int], now: datetime) -> list[int]:
            seconds = 2 * self.settings.hand_over_seconds
            if take_turn(connection, provider.name, now, seconds):
                return going
            self._breakers[provider.name] = replace(known, until=now + timedelta(seconds=seconds))  # somebody else has
            return []

        return one_window

    def begin(self, provider: Provider) -> bool:
        """Take note that a window is on its way; say whether it is the one after a pause."""
        known = self._breakers.get(provider.name)
        if known is None or known.until is None:
            return False
        self._in_turn.add(provider.name)
        return True

    def hear(self, provider: Provider, outcomes: Iterable[Outcome], *, in_turn: bool) -> Note | None:
        """Learn from what became of a window; return what is to be written of it, None where that is nothing."""
        found = heard(outcomes)
        if in_turn:
            self._in_turn.discard(provider.name)
        if found is None:
            return None
        if found is True:
            known = self._breakers.pop(provider.name, None)
            return None if known is None else lambda connection, now: answer(connection, known, now)
        failure = found
        if failure.fault and self.route.single:
            self.fault = failure.reason
            return None

        def failed(connection: Connection, now: datetime) -> None:
            self._now = now
            self._breakers[provider.name] = fail(
                connection, provider.name, failure, self.settings, now, probe=in_turn
            )  # fmt: skip

        return failed

    def out(self, connection: Connection) -> dict[str, str]:
        """Say of each provider that is out why, and when it is asked again."""
        if self.fault is not None:
            return {self.route.providers[0].name: self.fault}
        found = read_breakers(connection)
        names = [provider.name for provider in self.route.providers]
        return {name: found[name].sentence for name in names if name in found and found[name].out}
