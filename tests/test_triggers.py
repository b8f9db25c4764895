"""The words that start enrollments: what they refuse, how they join, and that they are data."""

from collections.abc import Callable

import pytest

from evergreet.campaign import CAMPAIGN, Campaign, Email
from evergreet.durations import days, hours, option
from evergreet.errors import DefinitionError
from evergreet.triggers import Triggers, anniversary, broadcast, event, silence, stage_entered


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        (lambda: silence(days(60), after=()), "name at least one event after which"),
        (lambda: silence(days(0), after=("login",)), "a silence of no length is never broken"),
        (anniversary, "name the event whose first time is remembered"),
        (lambda: anniversary("order_placed", months=0), r"months=0.*1 to 1200"),
        (lambda: anniversary("order_placed", months=1201), "1 to 1200"),
        (lambda: anniversary("order_placed", shift=169), "less than half the way"),
        (lambda: anniversary("order_placed", months=1, shift=-15), "less than half the way"),
    ],
)
def test_what_never_starts_or_always_is_refused(word: Callable[[], Triggers], sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence):
        word()


def test_what_begins_a_silence_breaks_it_as_well() -> None:
    (quiet,) = silence(hours(1), after=("cart", "add_to_cart"), broken_by=("purchase", "cart")).silences
    assert quiet.broken_by == ("cart", "add_to_cart", "purchase")


def test_triggers_join_in_order_and_know_their_kinds() -> None:
    whole = (
        stage_entered("purchase") | event("order_placed", key="order_id") | silence(days(9), after=("login",))
        | anniversary("login", months=3, shift=-7) | broadcast("product_launched", key="id")
    )  # fmt: skip
    assert [part.kind for part in whole.parts] == ["stage", "event", "silence", "anniversary", "broadcast"]
    assert [len(kind) for kind in (whole.stages, whole.events, whole.silences, whole.anniversaries)] == [1, 1, 1, 1]
    assert whole.by_clock
    assert not (event("a") | stage_entered("b") | broadcast("c")).by_clock
    mixed = Campaign("mixed", whole, (Email("one", "note"),), topic="news")
    assert CAMPAIGN.validate_json(CAMPAIGN.dump_json(mixed)) == mixed
    assert mixed.priority == 2, "a broadcast comes after what a contact's own life sets off"


def test_the_length_of_a_silence_may_be_an_option() -> None:
    assert silence(days(option("quiet_days")), after=("login",)).silences[0].span.amount == option("quiet_days")
