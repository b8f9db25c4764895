"""The words of a campaign: what they refuse when a file is loaded, and that they are data."""

from collections.abc import Callable
from dataclasses import replace
from datetime import time
from typing import Any, cast

import pytest
from pydantic import Field

from evergreet.campaign import (
    CAMPAIGN,
    TRANSACTIONAL,
    Campaign,
    Email,
    Options,
    SendWindow,
    anniversary,
    broadcast,
    event,
    latest,
    local,
    pick,
    send_window,
    silence,
    stage_entered,
)
from evergreet.conditions import did, did_not, everyone, has_email, same
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


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda: local(24), r"local\(24, 0\): write an hour from 0 to 23"),
        (lambda: local(9, 75), r"local\(9, 75\): write an hour"),
        (lambda: local(cast(Any, 9.5)), r"local\(9.5, 0\): .* local\(9, 30\)"),
        (lambda: replace(local(option("hour")), hour=-1), r"local\(-1, 0\)"),
        (lambda: send_window("mon", cast(Any, 9.5), 18), r"write whole hours"),
        (lambda: days(cast(Any, 1.5)), r"days\(1.5\): write a whole number; half a day is hours\(12\)"),
    ],
)  # fmt: skip
def test_a_time_that_no_clock_shows_is_refused(write: Callable[[], object], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        write()


def test_a_negative_span_is_refused() -> None:
    with pytest.raises(DefinitionError, match="not negative"):
        days(-1)


@pytest.mark.parametrize(
    ("written", "weekdays"),
    [
        ("mon-fri", (0, 1, 2, 3, 4)),
        ("mon-sun", (0, 1, 2, 3, 4, 5, 6)),
        ("tue,thu", (1, 3)),
        ("Thu, TUE ,tue", (1, 3)),
        ("fri-mon", (0, 4, 5, 6)),
        ("wed-wed", (2,)),
        ("sat-sun,wed", (2, 5, 6)),
    ],
)
def test_weekdays_are_read_as_people_write_them(written: str, weekdays: tuple[int, ...]) -> None:
    assert send_window(written, 9, 18) == SendWindow(weekdays, 9, 18)
    assert send_window(written) == SendWindow(weekdays, 0, 24)


@pytest.mark.parametrize("written", ["", "monday", "mon-", "mon-fri-sun", "1-5", "mon;tue", ",", "mon,,tue"])
def test_other_weekdays_are_refused(written: str) -> None:
    with pytest.raises(DefinitionError, match="write days such as 'mon-fri'"):
        send_window(written)


@pytest.mark.parametrize(("opens", "closes"), [(18, 9), (9, 9), (-1, 5), (5, 25)])
def test_a_window_that_never_opens_is_refused_also_when_options_fill_it_in(opens: int, closes: int) -> None:
    class Chosen(Options):
        opens: int
        closes: int

    with pytest.raises(DefinitionError, match="it opens before it closes"):
        send_window("mon", opens, closes)
    windowed = campaign(
        topic="t", steps=(Email("s", template="note", window=send_window("mon", option("opens"), option("closes"))),)
    )
    with pytest.raises(DefinitionError, match="it opens before it closes"):
        windowed.resolve(Chosen(opens=opens, closes=closes))
    with pytest.raises(DefinitionError, match="name weekdays"):
        SendWindow(())


def test_a_pick_is_data_and_needs_something_to_choose_from() -> None:
    milestone = pick("milestone", (did_not("login"), {"title": "Log in", "weight": 2}), (everyone, {}), ever=True)
    assert milestone.cases[0].value == (("title", "Log in"), ("weight", 2))
    whole = campaign(
        picks=(milestone,),
        topic="t",
        steps=(
            Email("s", template="note", unless=did("x", where=same("id")), counted_from=latest("y", same="id"),
                  window=send_window("mon-fri", 9, 18), review_site=None),
        ),
    )  # fmt: skip
    assert CAMPAIGN.validate_json(CAMPAIGN.dump_json(whole)) == whole
    with pytest.raises(DefinitionError, match="it has no cases"):
        pick("nothing")


def test_only_a_silence_can_end_mailing() -> None:
    with pytest.raises(DefinitionError, match="which says what ends it"):
        campaign(ends_mailing=True)
    campaign(ends_mailing=True, trigger=silence(days(60), after=("login",)))


def test_a_broadcast_knows_no_re_entry() -> None:
    with pytest.raises(DefinitionError, match="does not go with trigger=broadcast"):
        campaign(trigger=broadcast("launch"), re_entry="once")
    campaign(trigger=broadcast("launch"))


def test_a_campaign_remembers_one_date() -> None:
    with pytest.raises(DefinitionError, match="a campaign remembers one date"):
        campaign(trigger=anniversary("account_created") | anniversary("order_placed"))
    campaign(trigger=anniversary("account_created", "order_placed"))
