"""What makes an occurrence of an event, whatever its key holds: the same on both stores, and to the audit."""

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select
from sqlmodel import col

from evergreet.audit import audit
from evergreet.campaign import Campaign, broadcast, event
from evergreet.causes import key_in, occurrence
from evergreet.conditions import attribute
from models import Event
from tests.story import THANKS, Story

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**54), 2**54).map(float),
    st.sampled_from([-0.0, 1e15, 1e16, 1e22, 2.0**63, -(2.0**63), 2**63 - 1, -(2**63), 1 - 2**-53, 1e300, 5e-324]),
)
PLAIN = st.none() | st.booleans() | NUMBERS | TEXT
VALUES = st.recursive(
    PLAIN, lambda some: st.lists(some, max_size=2) | st.dictionaries(TEXT, some, max_size=2), max_leaves=3
)


def named(value: Any) -> str | None:
    """The rule in the words of the documents: text, or a whole number."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return None
    return str(int(value)) if -(2**63) <= value < 2**63 else None


@settings(
    max_examples=15, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(values=st.lists(VALUES, min_size=10, max_size=20), key=st.sampled_from(["order_id", 'the "order"']))
def test_a_key_is_text_or_a_whole_number_on_both_stores_and_in_python(
    story: Story, key: str, values: list[Any]
) -> None:
    story.contact("ana")
    name = f"ordered-{next(story.counter)}"  # the examples share a database
    row = {"contact_id": 1, "name": name, "occurred_at": story.now, "ingested_at": story.now, "source": "test"}
    rows = [
        {**row, "source_id": f"{name}-{place}", "position": place, "properties": {key: value}}
        for place, value in enumerate(values)
    ]
    whose = Campaign(name="thanks", topic="orders", trigger=event(name, key=key), steps=THANKS.steps)
    with story.database.write() as connection:
        connection.execute(insert(Event), rows)
        found = connection.execute(
            select(occurrence(whose), col(Event.properties), col(Event.source_id))
            .where(col(Event.name) == name)
            .order_by(col(Event.position))
        ).all()
    for value, (occurred, properties, source_id) in zip(values, found, strict=True):
        read = key_in(properties, key)
        assert occurred == (f"event:test:{source_id}" if read is None else f"{name}:{read}")
        if isinstance(value, float) and abs(value) > 2**53:  # a store may keep its decimal or its binary value
            assert (read is None) == (named(value) is None)
        else:
            assert read == named(value)


def test_whatever_a_key_holds_nobody_is_missed_and_nobody_doubled(story: Story) -> None:
    values = (True, False, None, 1.5, 1e16, 1.0, -0.0, 2**64 - 1, 5e-324, "", "17", [17], {"a": 1}, 2**63 - 1)
    reads = attribute("reads") == "news"
    thanks = replace(THANKS, trigger=event("ordered", key="id"))
    news = replace(THANKS, name="news", topic="news", trigger=broadcast("launched", key="id"), audience=reads)
    for campaign in (thanks, news):
        story.launch(campaign)
    reader = story.contact("reader", address=None, attributes={"reads": "news"})
    people = [story.contact("buyer", address=None) for _ in values]
    expected: set[tuple[int, str]] = set()
    for place, (person, value) in enumerate(zip(people, values, strict=True)):
        for told in (f"{place}-a", f"{place}-b"):
            story.announces("launched", told, id=value)
            story.happened("ordered", person, id=value)
            expected.add((reader, f"event:test:{told}" if named(value) is None else f"launched:{named(value)}"))
    for campaign in (thanks, news):
        story.run(campaign)
        (audited,) = audit(story.database, story.clock, campaign.name)
        assert audited.findings == ()
    enrolled = {(row.contact_id, row.occurrence) for row in story.enrollments}
    assert {one for one in enrolled if one[0] == reader} == expected
    for person, value in zip(people, values, strict=True):
        keys = [occurrence for contact, occurrence in enrolled if contact == person]
        if (key := named(value)) is None:
            assert len(keys) == 2
            assert all(each.startswith("event:test:e") for each in keys)
        else:
            assert keys == [f"ordered:{key}"]
