"""The words of a campaign: what they refuse when a file is loaded, and that they are data."""

from datetime import time
from typing import Any

import pytest
from pydantic import Field

from evergreet.campaign import (
    CAMPAIGN,
    TRANSACTIONAL,
    Campaign,
    Email,
    Options,
    event,
    local,
    stage_entered,
)
from evergreet.conditions import did, everyone, has_email
from evergreet.durations import days, hours, minutes, option
from evergreet.errors import DefinitionError

RECEIPT = Email("receipt", template="note", purpose=TRANSACTIONAL)


def campaign(**words: Any) -> Campaign:
    return Campaign(**{"name": "thanks", "trigger": event("order_placed"), "steps": (RECEIPT,), **words})


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"name": "Thank You"}, "small letters, digits and hyphens"),
        ({"name": ""}, "small letters"),
        ({"steps": ()}, "no steps"),
        ({"steps": (RECEIPT, RECEIPT)}, "'receipt' stands twice"),
        ({"steps": (Email("news", template="note"),)}, "needs a topic people can unsubscribe from"),
        ({"holdout": 101}, "not a percentage"),
    ],
)
def test_what_would_fail_later_is_refused_at_once(words: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence):
        campaign(**words)


def test_a_campaign_is_data_and_comes_back_equal() -> None:
    whole = campaign(
        topic="orders",
        trigger=stage_entered("purchase") | event("order_placed", key="order_id"),
        audience=has_email & ~did("refund_requested", within=days(30)) | everyone,
        steps=(RECEIPT, Email("later", template="note", after=days(7), at=local(time(10, 30)), unless=did("login"))),
        goal=did("order_placed", within=days(60)),
        re_entry=days(90),
    )
    assert CAMPAIGN.validate_json(CAMPAIGN.dump_json(whole)) == whole


def test_options_fill_in_spans_and_hours() -> None:
    class Chosen(Options):
        later: int = Field(default=7, ge=1)
        hour: int = 10

    whole = campaign(
        topic="orders",
        steps=(Email("later", template="note", after=days(option("later")), at=local(option("hour"))),),
    )
    step = whole.resolve(Chosen(hour=9)).steps[0]
    assert step.after == days(7)
    assert step.at == local(time(9))


def test_an_option_that_is_not_a_field_is_named_with_those_that_are() -> None:
    class Chosen(Options):
        later: int = 7

    whole = campaign(steps=(Email("s", template="note", purpose=TRANSACTIONAL, after=hours(option("latre"))),))
    with pytest.raises(DefinitionError, match=r"option\('latre'\) is not a field of its Options; it has: later"):
        whole.resolve(Chosen())


def test_an_option_without_a_value_is_no_number() -> None:
    with pytest.raises(DefinitionError, match="has no value yet"):
        _ = minutes(option("later")).span


def test_what_only_steers_a_run_is_not_part_of_the_version() -> None:
    class Chosen(Options):
        later: int = 7

    assert Chosen(dry_run=True, batch_size=3, later=8).of_version() == {"later": 8}


def test_a_negative_span_is_refused() -> None:
    with pytest.raises(DefinitionError, match="not negative"):
        days(-1)
