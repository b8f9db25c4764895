"""What a provider's lists say has the effect of its webhook's words, once; they are read on from where they were."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from evergreet import patience
from evergreet.consent import resubscribe
from evergreet.contracts import Kind, Suppressed, Verdict
from evergreet.erasure import erase
from evergreet.errors import Misconfigured, Retryable
from evergreet.feedback.pulling import OVERLAP, Pulled, pull
from evergreet.tokens import Tokens
from models import Suppression
from tests.feedback.telling import Provider
from tests.feedback.test_applying import agreed, sent, suppressions
from tests.story import Story

Read = Callable[..., Pulled]


@dataclass
class Source:
    """Gives entries and raises errors in the order they stand; `asked` is from when."""

    entries: list[Suppressed | Retryable | Misconfigured] = field(default_factory=list)
    asked: list[datetime | None] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    name: str = "recorder"

    def suppressions(self, since: datetime | None, until: datetime) -> Iterator[Suppressed]:
        self.asked.append(since)
        return Given(self.entries)


@dataclass
class Given:
    left: list[Suppressed | Retryable | Misconfigured]
    at: int = 0

    def __iter__(self) -> "Given":
        return self

    def __next__(self) -> Suppressed:
        if self.at == len(self.left):
            raise StopIteration
        self.at += 1
        found = self.left[self.at - 1]
        if isinstance(found, Suppressed):
            return found
        raise found


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def read(story: Story, source: Source) -> Read:
    def read_back(*, full: bool = False) -> Pulled:
        asked: Any = source  # what else a connector has is not asked for
        return pull(story.database, asked, tokens(story), story.clock, full=full, wait=source.waited.append)

    return read_back


def tokens(story: Story) -> Tokens:
    return Tokens([key.get_secret_value() for key in story.settings.secret_keys])


def test_each_verdict_has_its_effect_once_and_again_changes_nothing(story: Story, source: Source, read: Read) -> None:
    ana, ben, eva, dan = sent(story, "ana", "ben", "eva", "dan")
    story.clock.advance(timedelta(hours=1))
    at = story.now
    source.entries = [
        Suppressed("Ana@example.org", Verdict.INVALID, at), Suppressed("ben@example.org", Verdict.COMPLAINED, at),
        Suppressed("eva@example.org", Verdict.UNSUBSCRIBED, at),
        Suppressed("dan@example.org", Verdict.UNSUBSCRIBED_TOPIC, at, "offers"),
        Suppressed("stranger@example.org", Verdict.INVALID, at), Suppressed("no address", Verdict.INVALID, at),
    ]  # fmt: skip
    story.clock.advance(timedelta(hours=1))
    pulled = read()
    assert dict(pulled.read) == {"invalid": 3, "complained": 1, "unsubscribed": 1, "unsubscribed_topic": 1}
    assert (pulled.new, pulled.unreadable) == (7, 1)  # four addresses, eva's two consents, one of dan's
    expected = {
        "ana@example.org": ("all", "hard_bounce", "pulled:recorder"),
        "ben@example.org": ("all", "complaint", "pulled:recorder"),
        "eva@example.org": ("marketing", "unsubscribed", "pulled:recorder"),
        "stranger@example.org": ("all", "hard_bounce", "pulled:recorder"),
    }
    assert suppressions(story) == expected
    assert agreed(story, eva) == {"news": False, "offers": False}
    assert agreed(story, dan) == {"news": True, "offers": False}
    assert agreed(story, ana) == agreed(story, ben) == {"news": True, "offers": True}
    assert read(full=True).new == 0
    assert suppressions(story) == expected


def test_it_begins_where_it_was_read_to_unless_all_is_wanted_or_it_did_not_come_to_the_end(
    story: Story, source: Source, read: Read
) -> None:
    first = story.now
    read()
    story.clock.advance(timedelta(days=3))
    source.entries = [Suppressed("ana@example.org", Verdict.INVALID, first), Misconfigured("no such key")]
    with pytest.raises(Misconfigured):
        read()
    source.entries.pop()
    read()
    second = story.now
    story.clock.advance(timedelta(days=1))
    read(full=True)
    story.clock.advance(timedelta(days=1))
    read()
    assert source.asked == [None, first - OVERLAP, first - OVERLAP, None, second + timedelta(days=1) - OVERLAP]


def test_who_agreed_again_stays_on_and_who_was_erased_stays_forgotten(story: Story, source: Source, read: Read) -> None:
    ana, ben = sent(story, "ana", "ben")
    story.clock.advance(timedelta(hours=1))
    at = story.now
    source.entries = [Suppressed(f"{who}@example.org", Verdict.UNSUBSCRIBED, at) for who in ("ana", "ben")]
    story.clock.advance(timedelta(hours=1))
    with story.database.write() as connection:
        resubscribe(connection, ana, "extras", at=story.now, source="page", wording="yes")
        erase(connection, ben, tokens=tokens(story), at=story.now, actor="test")
    story.clock.advance(timedelta(hours=1))
    read()
    assert agreed(story, ana) == {"news": False, "offers": False, "extras": True}
    assert [row.address.partition(":")[0] for row in story.rows(Suppression)] == ["hmac"]


def test_the_webhook_and_the_list_say_it_once(story: Story, source: Source, provider: Provider, read: Read) -> None:
    (ana,) = sent(story, "ana")
    provider.tells(provider.event(Kind.HARD_BOUNCED, address="ana@example.org"))
    source.entries = [Suppressed("ana@example.org", Verdict.INVALID, story.now)]
    assert read().new == 0
    assert suppressions(story) == {"ana@example.org": ("all", "hard_bounce", "webhook:recorder")}
    assert agreed(story, ana)["news"]


def test_a_limit_is_waited_for_and_not_for_ever(story: Story, source: Source, read: Read) -> None:
    entry = Suppressed("ana@example.org", Verdict.INVALID, story.now)
    limit, away = Retryable("slow down", retry_after=timedelta(seconds=30)), Retryable("away")
    source.entries = [limit, entry, away, away, entry, *[away] * patience.TRIES, entry]
    assert read().read == {"invalid": 3}
    assert source.waited == [30, 2, 4, 2, 4, 8, 16, 32]
    for never in ([away] * 6, [limit, entry] * 51, [Retryable("tomorrow", retry_after=timedelta(hours=1))]):
        source.entries = [*never]
        with pytest.raises(Retryable):
            read()
