"""Work through one claimed chunk: render, intent, hand over, settle, with a few hand-overs side by side."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from evergreet.breakers import Late
from evergreet.channels import AnySender
from evergreet.clock import elapsed_clock
from evergreet.composers import AnyComposer, AnyMessage
from evergreet.composing import Letter, message_key
from evergreet.contracts import (
    Accepted,
    CrmSink,
    EmailMessage,
    Outcome,
    RateLimiter,
    RepeatableSender,
    Sender,
)
from evergreet.errors import EvergreetError, Misconfigured, Permanent, Retryable
from evergreet.gates import Rules
from evergreet.ledger import ClaimedChunk, NotLive, own, put_off, take_in_hand, write_intent
from evergreet.rates import Unlimited
from evergreet.repeats import Remembered, forget
from evergreet.routing import Provider
from evergreet.settings import Settings
from evergreet.settling import settle
from evergreet.switchboard import NO_TICKET, Switchboard, Ticket
from evergreet.worker import Worker

PING_SECONDS = 20.0
NOBODY: frozenset[str] = frozenset()


@dataclass(slots=True)
class Window:
    """Messages whose intent is written together and that go to one provider in one call."""

    provider: Provider
    attempts: dict[int, int]
    batch: list[AnyMessage]
    intended_at: float
    requests: Remembered | None = None
    ticket: Ticket = NO_TICKET

    @property
    def ids(self) -> list[int]:
        """Message ids, in the order of the batch."""
        return list(self.attempts)


@dataclass(slots=True)
class Composed:
    """Letters of one window, rendered: messages by ledger row, and why others could not be made."""

    provider: Provider
    letters: Sequence[Letter]
    messages: dict[int, AnyMessage] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class Delivery:
    """One chunk in the hands of one worker."""

    worker: Worker
    chunk: ClaimedChunk
    rules: Rules
    composer: AnyComposer
    board: Switchboard
    settings: Settings
    run_id: int
    pool: ThreadPoolExecutor
    over: Callable[[], bool]
    counts: Counter[str] = field(default_factory=Counter)
    misconfigured: str | None = None
    not_live: bool = False
    idle: bool = False
    """Whether what is left of the chunk has nobody to go to just now."""
    flying: dict[Future[list[Outcome]], Window] = field(default_factory=dict)
    refused: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Messages that move on to the next provider, and the connectors that did not take them."""

    @property
    def done(self) -> int:
        """How many rows have been decided or settled."""
        return sum(self.counts.values())

    @property
    def ended(self) -> bool:
        """Whether no new window may be begun."""
        return self.over() or self.misconfigured is not None or self.not_live or self.idle

    def work(self, letters: Sequence[Letter], read_at: datetime) -> Iterator[int]:
        """Work through the letters of a chunk read at that moment; yields `done` after each window.

        What is in hand is settled in any case. Messages whose contact changed meanwhile stay planned for the
        next reading of the chunk, and so do those that move on to another provider.
        """
        shares = self._shared_out(letters)
        if not shares:
            self._put_off(letters)
            return
        windows = (window for provider, theirs in shares for window in self._windows(provider, theirs, read_at))
        side_by_side = 1 if self.chunk.careful else self.settings.threads
        try:
            while not self.ended:
                if len(self.flying) >= side_by_side:
                    self._land()
                    continue  # whoever asked us to stop meanwhile is heard before anything new is begun
                if (window := next(windows, None)) is None:
                    break
                self._start(window)
                yield self.done
        finally:
            while self.flying:
                self._land()
        yield self.done

    def _shared_out(self, letters: Sequence[Letter]) -> list[tuple[Provider, Sequence[Letter]]]:
        """Say who is asked for which letters; those that nobody may be asked for now are left out."""
        route = self.board.route
        if route.single:
            (only,) = route.providers
            theirs = letters[:1] if self.board.on_trial(only) else letters
            return [(only, theirs)] if self.board.may(only) else []
        shares: defaultdict[str, list[Letter]] = defaultdict(list)
        tried: set[str] = set()  # with one message each
        campaign = self.rules.campaign.name if route.shared else ""
        for letter in letters:
            key = message_key(campaign, letter.step_key, letter.occurrence, letter.source) if campaign else ""
            provider = self.board.choose(route.order(key), tried | self.refused.get(letter.id, NOBODY))
            if provider is not None:
                shares[provider.name].append(letter)
                if self.board.on_trial(provider):
                    tried.add(provider.name)
        return [(provider, shares[provider.name]) for provider in route.providers if provider.name in shares]

    def _put_off(self, letters: Sequence[Letter]) -> None:
        """Plan for later what moved on to a provider that went out meanwhile; what was never tried stays here."""
        self.idle = True
        self.misconfigured = self.board.halted
        if moved := [letter.id for letter in letters if letter.id in self.refused]:
            put_off(self.worker, self.chunk, moved, self.settings.retry_seconds)

    def _windows(self, provider: Provider, letters: Sequence[Letter], now: datetime) -> Iterator[Composed]:
        """Cut the letters of one provider into windows and render each when its turn comes.

        For a connector that sends messages of one skeleton in one request all are rendered first, and each window
        holds messages of one skeleton; what has none goes by itself. What could not be rendered needs no request.
        """
        able = provider.sender.capabilities
        size = self.settings.window or able.window
        if not self.rules.marketing or self.chunk.careful:
            size = 1
        size = min(size, able.batch_limit, provider.rate.most_together or size)
        if size == 1 or not able.splits:
            for start in range(0, len(letters), size):
                if not self.board.may(provider):
                    return  # who is left is read again, and goes to another
                if self.chunk.careful:
                    take_in_hand(self.worker, self.chunk, letters[start].id)
                yield self._composed(provider, letters[start : start + size], now)
            return
        whole = self._composed(provider, letters, now)
        alike: dict[str | int, list[Letter]] = {}
        for letter in letters:
            message = whole.messages.get(letter.id)
            split = message.split if isinstance(message, EmailMessage) else None
            alike.setdefault("" if message is None else split.skeleton.key if split else letter.id, []).append(letter)
        for some in alike.values():
            for start in range(0, len(some), size):
                if not self.board.may(provider):
                    return
                window = some[start : start + size]
                # Taken out: what is sent need not be kept until the chunk is through.
                yield Composed(
                    provider,
                    window,
                    {each.id: whole.messages.pop(each.id) for each in window if each.id in whole.messages},
                    {each.id: whole.failures[each.id] for each in window if each.id in whole.failures},
                )

    def _composed(self, provider: Provider, letters: Sequence[Letter], now: datetime) -> Composed:
        composed = Composed(provider, letters)
        for letter in letters:
            try:
                composed.messages[letter.id] = self.composer.compose(letter, now)
            except EvergreetError as error:
                composed.failures[letter.id] = f"template: {error}"
            except MemoryError:  # perhaps nobody's fault but the machine's: this worker stops
                raise
            except Exception as error:  # whatever it is, it is about this message: the others go on
                composed.failures[letter.id] = f"template: {type(error).__name__}: {error}"
        return composed

    def _start(self, window: Composed) -> None:
        letters, rendered, provider = window.letters, window.messages, window.provider
        self._ask_limiter(provider.limiter, len(rendered))
        if not self.board.may(provider):  # settled while the limiter let us wait
            return
        intended_at = elapsed_clock()
        sender = provider.sender
        remembered = Remembered(sender, rendered) if isinstance(sender, RepeatableSender) else None
        try:
            intent = write_intent(
                self.worker, self.chunk, self.rules,
                {letter.id: letter.changed_at for letter in letters},
                [letter.contact_id for letter in letters], window.failures, self.run_id, provider.name,
                remembered.store if remembered is not None else None, self.board.admit(provider),
            )  # fmt: skip
        except NotLive:
            self.not_live = True
            return
        self.counts.update(intent.counts)
        if intent.go:
            batch = [rendered[message] for message in intent.go]
            going = Window(provider, intent.go, batch, intended_at, remembered, self.board.begin(provider))
            self.flying[self.pool.submit(self._hand_over, going)] = going

    def _hand_over(self, window: Window) -> list[Outcome]:
        """Give a window to the connector, not later than the deadline after its intent (runs in a thread)."""
        if window.requests is not None:  # some of them may have been accepted before, where others were refused
            return window.requests.hand_over(lambda: self._late(window))
        if (late := self._late(window)) is not None:
            return [late] * len(window.batch)
        name = window.provider.name
        try:
            outcomes = handed(window.provider.sender, window.batch)
        except (Retryable, Permanent, Misconfigured) as error:
            return [error] * len(window.batch)
        except Exception as error:  # a connector may fail in any way: then nobody knows what was accepted
            return [_doubt(f"{name}: {type(error).__name__}")] * len(window.batch)
        if len(outcomes) != len(window.batch):
            return [_doubt(f"{name} answered {len(outcomes)} outcomes")] * len(window.batch)
        return [
            outcome
            if isinstance(outcome, Accepted | Retryable | Permanent | Misconfigured)
            else _doubt(f"{name} answered a {type(outcome).__name__}")
            for outcome in outcomes
        ]

    def _late(self, window: Window) -> Late | None:
        """Return what becomes of messages whose intent is too long ago for handing them over."""
        seconds = self.settings.hand_over_seconds
        if elapsed_clock() - window.intended_at <= seconds:
            return None
        return Late(f"not handed over within {seconds} s of the intent")

    def _land(self) -> None:
        """Settle what has come back, waiting for at least one window."""
        while not (landed := self._wait_for(self.flying)):
            pass
        self._settle(landed)

    def _ask_limiter(self, limiter: RateLimiter, count: int) -> None:
        """Wait for permission to send, which may take minutes; what comes back meanwhile is settled at once."""
        if isinstance(limiter, Unlimited):
            return
        asked = self.pool.submit(limiter.acquire, count)
        while not asked.done():
            self._settle(self._wait_for({asked, *self.flying}) - {asked})
        asked.result()

    def _wait_for(self, futures: Iterable[Future[Any]]) -> set[Future[Any]]:
        """Return which have come back, at the latest before this worker's silence would end it (then none)."""
        patience = min(PING_SECONDS, self.settings.owner_silence_seconds / 3)
        done = wait(futures, timeout=patience, return_when=FIRST_COMPLETED).done
        if not done:
            self.worker.ping()
        return done

    def _settle(self, landed: Iterable[Future[list[Outcome]]]) -> None:
        for future in landed:
            window = self.flying.pop(future)
            if self._divided(window):
                self.flying[self.pool.submit(self._hand_over, window)] = window
                continue
            outcomes = dict(zip(window.ids, future.result(), strict=True))
            note = self.board.hear(window.provider, future.result(), window.ticket)
            counts = settle(
                self.worker, self.chunk, window.attempts, outcomes, self.settings,
                self._moving(window.provider, outcomes), len(self.board.route.providers), note,
            )  # fmt: skip
            self.misconfigured = self.misconfigured or self.board.halted
            if window.requests is not None:
                with self.worker.transaction() as connection:
                    forget(connection, window.requests.ids)
            self.counts.update(counts)

    def _moving(self, provider: Provider, outcomes: Mapping[int, Outcome]) -> set[int]:
        """Return the messages that are to go to another provider now: those that this one certainly did not take."""
        moving: set[int] = set()
        for message, outcome in outcomes.items():
            if self.board.route.single or isinstance(outcome, Accepted | Permanent | Late):
                continue
            if isinstance(outcome, Retryable) and outcome.accepted != "no":
                continue
            refused = self.refused[message] | {provider.name}
            if self.board.choose(self.board.route.providers, refused) is None:
                del self.refused[message]  # it waits, and begins anew then
            else:
                self.refused[message] = refused
                moving.add(message)
        return moving

    def _divided(self, window: Window) -> bool:
        """Store smaller requests in the place of those that were refused as a whole; say whether there were any."""
        if window.requests is None or not window.requests.refused or self._late(window) is not None:
            return False
        with self.worker.transaction() as connection:
            own(connection, self.worker, self.chunk)
            window.requests.divide(connection, self.worker.clock.now(connection))
        return True


def handed(sender: AnySender, batch: list[Any]) -> list[Outcome]:
    """Hand messages over: a CRM is pushed to. Which it is, its channel says: to look through its methods takes time."""
    if sender.capabilities.channel == "crm":
        return cast(CrmSink, sender).push(batch)
    return cast(Sender, sender).send(batch)


def _doubt(reason: str) -> Retryable:
    return Retryable(reason, accepted="maybe")
