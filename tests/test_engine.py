"""The engine on both stores: who gets what, once, and what the ledger says."""


import pytest

from tests.story import Story


@pytest.fixture
def story(database, clock) -> Story:  # type: ignore[no-untyped-def]
    return Story(database, clock)


def test_a_customer_who_orders_gets_one_receipt(story: Story) -> None:
    ana = story.contact("ana")
    story.launch()
    story.happened("order_placed", ana)
    report = story.run()
    assert story.sender.recipients == ["ana@example.org"]
    assert report.balance.as_dict() == {
        "due": 1, "accepted": 1, "skipped": 0, "deferred": 0, "planned": 0, "sending": 0, "failed": 0, "unknown": 0,
        "pending": 0,
    }  # fmt: skip


def test_a_second_run_sends_nothing_twice(story: Story) -> None:
    story.launch()
    story.happened("order_placed", *story.contacts(120))
    assert story.run().attempted == {"accepted": 120}
    assert story.run().attempted == {}
    assert len(story.sender.sent) == len(set(story.sender.recipients)) == 120
