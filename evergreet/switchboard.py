"""The switchboard of a run: which providers of a route may be asked now."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from evergreet.allowances import day_of, end_of, enough, give_back, take
from evergreet.breakers import Breaker, answer, fail, heard, read_breakers, take_turn
from evergreet.contracts import Accepted, Outcome
from evergreet.errors import Retryable
from evergreet.ledger import Admit
from evergreet.routing import Provider, Route
from evergreet.settings import Settings
from evergreet.settling import Note


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a window was let through with: in its turn after a pause, with places of a day."""

    in_turn: bool = False
    day: date | None = None


NO_TICKET = Ticket()


class Switchboard:
    """Knows which providers of one route are out, or were given enough today, and so who is asked next.

    What it knows of the store is as old as the reading of a chunk; the transactions of the windows ask again where it
    matters.
    """

    def __init__(self, route: Route, settings: Settings) -> None:
        self.route = route
        self.settings = settings
        self.fault: str | None = None
        """What is wrong with the settings of the only provider; with several the breaker knows."""
        self._breakers: dict[str, Breaker] = {}
        self.now: datetime | None = None
        """As of when it knows."""
        self.waited_at: datetime | None = None
        """The moment from which on a run last waited for the end of a short pause."""
        self._in_turn: set[str] = set()
        """Connectors to which the one message after a pause is on its way."""
        self._full: set[str] = set()
        self._taken_on: date | None = None
        """The day on which the last intent took its places."""

    def refresh(self, connection: Connection, now: datetime) -> None:
        """Look who is out, and who was given enough, as of now."""
        self.now = now
        self._breakers = read_breakers(connection)
        self._full = set(self._enough(connection, now))

    def may(self, provider: Provider) -> bool:
        """Whether it may be asked now."""
        if self.fault is not None or provider.name in self._full:
            return False
        known = self._breakers.get(provider.peer)
        if known is None or known.until is None:
            return True
        return self.now is not None and known.until <= self.now and provider.peer not in self._in_turn

    def on_trial(self, provider: Provider) -> bool:
        """Whether its pause is over and one message is to show whether it answers."""
        known = self._breakers.get(provider.peer)
        return known is not None and known.out

    @property
    def pause(self) -> timedelta | None:
        """How long it is until somebody may be asked, where the pauses of all are still going on; else None."""
        ends = [
            one.until for provider in self.route.providers if (one := self._breakers.get(provider.peer)) and one.until
        ]
        if self.now is None or self._full or self.fault is not None or len(ends) < len(self.route.providers):
            return None
        return min(ends) - self.now

    @property
    def anybody(self) -> bool:
        """Whether there is a provider that may be asked now."""
        return any(self.may(provider) for provider in self.route.providers)

    @property
    def tomorrow(self) -> datetime | None:
        """When providers may be given more, where all were given enough today; else None."""
        if self.now is None or not all(provider.name in self._full for provider in self.route.providers):
            return None
        return end_of(self._day(self.now), self.settings.default_timezone)

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
        known = [self._breakers.get(provider.peer) for provider in self.route.providers]
        faults = [one.reason for one in known if one is not None and one.fault and one.out]
        return "; ".join(faults) if len(faults) == len(known) and not self.anybody else None

    def admit(self, provider: Provider) -> Admit | None:
        """Return what an intent for it is to ask before it is written; None in nearly all cases."""
        asked: list[Admit] = []
        if self.on_trial(provider):
            asked.append(self._one_turn(self._breakers[provider.peer]))
        if provider.rate.per_day is not None:
            asked.append(self._places(provider))
        if not asked:
            return None

        def admitted(connection: Connection, going: list[int], now: datetime) -> list[int]:
            for ask in asked:
                going = ask(connection, going, now) if going else going
            return going

        return admitted

    def _one_turn(self, known: Breaker) -> Admit:
        def in_turn(connection: Connection, going: list[int], now: datetime) -> list[int]:
            seconds = 2 * self.settings.hand_over_seconds
            if take_turn(connection, known.connector, now, seconds):
                return going
            until = now + timedelta(seconds=seconds)  # somebody else has the turn
            self._breakers[known.connector] = replace(known, until=until)
            return []

        return in_turn

    def _places(self, provider: Provider) -> Admit:
        def places(connection: Connection, going: list[int], now: datetime) -> list[int]:
            self._taken_on = day = self._day(now)
            limit = provider.rate.on(day)
            assert limit is not None
            zone = self.settings.default_timezone
            there = take(connection, provider.name, day, zone, limit, len(going))
            if there < len(going):
                self._full.add(provider.name)
            return going[:there]

        return places

    def begin(self, provider: Provider) -> Ticket:
        """Take note that a window is on its way, and return what it was let through with."""
        in_turn = self.on_trial(provider)
        if in_turn:
            self._in_turn.add(provider.peer)
        day = None if provider.rate.per_day is None else self._taken_on
        return Ticket(in_turn, day) if in_turn or day else NO_TICKET

    def hear(self, provider: Provider, outcomes: Sequence[Outcome], ticket: Ticket) -> Note | None:
        """Learn from what became of a window; return what is to be written of it, None where that is nothing."""
        notes = [self._hear_of_the_provider(provider, outcomes, in_turn=ticket.in_turn)]
        free = sum(not _may_have_been_taken(outcome) for outcome in outcomes)
        if (day := ticket.day) is not None and free:
            self._full.discard(provider.name)
            notes.append(lambda connection, _: give_back(connection, provider.name, day, free))
        written = [note for note in notes if note is not None]
        if not written:
            return None

        def note(connection: Connection, now: datetime) -> None:
            for each in written:
                each(connection, now)

        return note

    def _hear_of_the_provider(self, provider: Provider, outcomes: Iterable[Outcome], *, in_turn: bool) -> Note | None:
        found = heard(outcomes)
        if in_turn:
            self._in_turn.discard(provider.peer)
        if found is None:
            return None
        if found is not True and found.refusal and provider.sender.capabilities.channel == "crm":
            found = True  # it may know none of these people, and says the same of each
        if found is True:
            known = self._breakers.pop(provider.peer, None)
            return None if known is None else lambda connection, now: answer(connection, known, now)
        failure = found
        if failure.fault and self.route.single:
            self.fault = failure.reason
            return None

        def failed(connection: Connection, now: datetime) -> None:
            self.now = now
            self._breakers[provider.peer] = fail(
                connection, provider.peer, failure, self.settings, now, probe=in_turn
            )  # fmt: skip

        return failed

    def out(self, connection: Connection, now: datetime) -> dict[str, str]:
        """Say of each provider that cannot be asked why, and when it is asked again."""
        if self.fault is not None:
            return {self.route.providers[0].peer: self.fault}
        full, breakers = self._enough(connection, now), read_breakers(connection)
        names = [provider.peer for provider in self.route.providers]
        return full | {name: breakers[name].sentence for name in names if name in breakers and breakers[name].out}

    def _enough(self, connection: Connection, now: datetime) -> dict[str, str]:
        rates = {provider.name: provider.rate for provider in self.route.providers}
        return enough(connection, rates, now, self.settings.default_timezone)

    def _day(self, now: datetime) -> date:
        return day_of(now, self.settings.default_timezone)


def _may_have_been_taken(outcome: Outcome) -> bool:
    return isinstance(outcome, Accepted) or (isinstance(outcome, Retryable) and outcome.accepted != "no")
