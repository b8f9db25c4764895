"""Runs that deliver beside another: each message once, and one report that counts them all."""

from collections.abc import Callable

import pytest

from evergreet import engine
from evergreet.audit import audit
from evergreet.campaign import Options
from evergreet.campaigns import pause
from evergreet.engine import Engine
from evergreet.errors import EvergreetError, Misconfigured
from evergreet.shards import Shard
from tests.story import THANKS, Story


class Death(BaseException):
    """What no process comes back from."""


class Interrupted:
    """A reporter that does something after the first messages were sent."""

    def __init__(self, what: Callable[[], None]) -> None:
        self.what = what

    def progress(self, phase: str, _done: int, _total: int | None) -> None:
        if phase == "sent":
            self.what()


def orders(story: Story, count: int) -> list[str]:
    """Let contacts order something; return their addresses."""
    story.launch()
    story.happened("order_placed", *story.contacts(count))
    return sorted(f"c{number}@example.org" for number in range(count))


def audited(story: Story) -> list[str]:
    return [finding for one in audit(story.database, story.clock) for finding in one.findings]


def test_a_run_and_its_shard_send_each_message_once_and_report_together(story: Story) -> None:
    addresses = orders(story, 12)
    told, done = [], []

    def share(run: int, messages: int) -> None:
        told.append(messages)
        shard = story.engine()
        shard.reporter = Interrupted(shard.request_stop)  # what is left of its chunk goes to the others
        done.append(shard.deliver(THANKS.name, run))

    report = story.run(options=Options(batch_size=4), share=share)

    assert told == [12]
    assert (done[0].enrolled, done[0].planned, done[0].more) == (0, 0, True)
    assert 1 <= done[0].attempted["accepted"] < 12
    assert report.attempted == {"accepted": 12}
    assert report.shards == {done[0].run_id: "stopped"}
    assert (report.enrolled, report.planned, report.balance.accepted, report.more) == (12, 12, 12, False)
    assert story.sender.recipients == addresses
    assert story.run().shards == {}, "the next run has none"
    assert audited(story) == []


def test_what_a_dead_shard_leaves_is_finished_in_the_same_run(story: Story) -> None:
    addresses = orders(story, 12)

    def die() -> None:
        raise Death

    def share(run: int, _messages: int) -> None:
        shard = story.engine()
        shard.reporter = Interrupted(die)
        with pytest.raises(Death):
            shard.deliver(THANKS.name, run)

    report = story.run(options=Options(batch_size=4), share=share)

    assert list(report.shards.values()) == ["crashed"]
    unknown = report.balance.unknown  # what other threads of the dead one had in hand
    assert report.attempted["accepted"] == report.balance.accepted == 12 - unknown
    assert report.attempted.get("unknown", 0) == unknown
    assert len(set(story.sender.recipients)) == len(story.sender.recipients)
    assert set(story.sender.recipients) <= set(addresses)
    assert audited(story) == []


def test_a_shard_that_begins_just_as_the_run_looks_and_takes_the_last_chunk_is_waited_for(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders(story, 4)
    begun, ended = Shard(2, "running", {}), Shard(2, "completed", {"accepted": 4})
    told = iter([[], [begun], [begun]])
    monkeypatch.setattr(engine, "shards_of", lambda *_: next(told, [ended]))
    monkeypatch.setattr(engine, "claim", lambda *_: None)
    report = story.run(share=lambda *_: None)
    assert report.attempted == {"accepted": 4}


def test_a_shard_that_may_not_send_leaves_the_rest_to_the_run(story: Story) -> None:
    orders(story, 6)

    def share(run: int, _messages: int) -> None:
        shard: Engine = story.engine()
        story.sender.answers = {f"c{number}@example.org": Misconfigured("no password here") for number in range(6)}
        assert shard.deliver(THANKS.name, run).halted == "no password here"
        story.sender.answers = {}

    report = story.run(options=Options(batch_size=2), share=share)
    assert (list(report.shards.values()), report.halted) == (["halted"], None)
    assert report.attempted["accepted"] == report.balance.accepted >= 4
    assert report.balance.accepted + report.balance.planned == 6, "what it could not send waits for its next try"


def test_a_shard_of_a_paused_campaign_sends_nothing(story: Story) -> None:
    orders(story, 3)

    def share(run: int, _messages: int) -> None:
        pause(story.database, THANKS.name, clock=story.clock, actor="ann", reason="wrong link")
        report = story.engine().deliver(THANKS.name, run)
        assert (report.run_id, report.halted) == (None, "the campaign is paused (wrong link)")

    report = story.run(share=share)
    assert (report.shards, report.attempted) == ({}, {})
    assert story.sender.recipients == []


def test_a_shard_of_a_run_that_is_not_there_says_so(story: Story) -> None:
    story.launch()
    with pytest.raises(EvergreetError, match=r"no run 99 of this campaign.*same EVERGREET_DATABASE_URL"):
        story.engine().deliver(THANKS.name, 99)
