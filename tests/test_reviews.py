"""The rules of asking for reviews: where it is forbidden, and what would make it unfair."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import Field

from evergreet.campaign import (
    MARKETING,
    Campaign,
    Email,
    Options,
    Purpose,
    Triggers,
    anniversary,
    event,
    pick,
    silence,
    stage_entered,
)
from evergreet.campaigns import register
from evergreet.conditions import attribute, consented, did, has_email, in_campaign, prop, same, stage_is
from evergreet.durations import days, option
from evergreet.errors import DefinitionError
from evergreet.presets.vocabulary import PURCHASED
from evergreet.review_messages import check_review_messages
from evergreet.reviews import forbids_asking, incentive_in
from evergreet.template_sources import TemplateSource
from tests.story import Story, note

OWN = "https://www.fernway.example/reviews/new"
ASK = Email("ask", "note", review_site=OWN)


def request(step: Email = ASK, **words: Any) -> Campaign:
    return Campaign("request", event("order_placed"), (step,), topic="reviews", **words)


@pytest.mark.parametrize(
    "url",
    [
        "https://yelp.com/biz/fernway", "https://www.yelp.de/biz/fernway", "https://m.yelp.com", "https://YELP.CO.UK.",
        "https://www.amazon.co.uk/review/create-review", "https://amazon.com:443/x", "https://user@amazon.de/x",
        "https://amzn.to/3abc", "https://yelp.to/x", "HTTPS://WWW.YELP.FR/x", "https://ｙｅｌｐ.com", "https://yelp。com/biz",
        "https://ye\u00adlp.com", "https://bit.ly/3abc", "https://a.co/d/3abc", "https://tinyurl.com:443/x",
    ],
)  # fmt: skip
def test_sites_that_forbid_asking_under_any_of_their_names(url: str) -> None:
    assert forbids_asking(url) is not None
    with pytest.raises(DefinitionError, match="Ask for a review on your own site instead"):
        request(Email("ask", "note", review_site=url))


@pytest.mark.parametrize(
    "url",
    [
        OWN, "https://notyelp.com/x", "https://yelp-reviews.example", "https://www.trustpilot.com/evaluate/fernway",
        "https://fernway.example/yelp.com", "https://fernway.example/?next=https://yelp.com", "https://yelp",
        "https://yelp.com@fernway.example/reviews", "https://theamazon.example", "https://bücher.example/x",
        "https://rabbit.ly", "https://g.page/r/fernway/review",
    ],
)  # fmt: skip
def test_other_sites_are_not_taken_for_them(url: str) -> None:
    assert forbids_asking(url) is None
    request(Email("ask", "note", review_site=url))


@pytest.mark.parametrize(
    "url",
    [
        "http://www.fernway.example",
        "www.fernway.example",
        "https://",
        "https:///x",
        "https://[x",
        "https://yelp.com\\@fernway.example",
        "https://%79elp.com",
        "https://a..b",
    ],
)
def test_an_address_that_is_not_https_is_refused(url: str) -> None:
    with pytest.raises(DefinitionError, match="is not an https:// address"):
        request(Email("ask", "note", review_site=url))


UNFAIR = {
    "the content happy": did("survey_answered", where=prop("score") >= 9),
    "who asked for no refund": ~did("refund_requested"),
    "a stage": stage_is("advocacy"),
    "who is in no recovery": ~in_campaign("service-recovery"),
    "a free attribute": attribute("satisfaction") == "high",
    "who cancelled any order": did("order_cancelled"),
    "reviews with stars": did("review_submitted", where=(same("order_id"), prop("rating") >= 4)),
}


@pytest.mark.parametrize("what", UNFAIR)
def test_whatever_chooses_between_customers_is_refused_wherever_it_stands(what: str) -> None:
    condition = UNFAIR[what]
    chosen: list[dict[str, Any]] = [
        {"audience": has_email & condition},
        {"step": Email("ask", "note", review_site=OWN, unless=condition)},
        {"goal": condition},
        {"picks": (pick("page", (condition, {"path": "/public"}), (has_email, {"path": "/private"})),)},
    ]
    for words in chosen:
        with pytest.raises(DefinitionError, match="goes to everyone alike, but a condition asks for"):
            request(**words)


def test_a_stage_does_not_choose_who_is_asked() -> None:
    with pytest.raises(DefinitionError, match="would ask only who is happy"):
        Campaign("request", event("order_placed") | stage_entered("advocacy"), (ASK,), topic="reviews")


@pytest.mark.parametrize(
    "trigger",
    [
        event("referral_sent"),
        event("order_placed") | event("support_ticket_solved"),
        silence(days(14), after=("order_placed",), broken_by=("refund_requested",)),
        silence(days(14), after=("order_placed",), having=("loyalty_joined",)),
        anniversary("review_submitted"),
    ],
)
def test_nor_does_an_event_that_only_some_buyers_have(trigger: Triggers) -> None:
    with pytest.raises(DefinitionError, match="would ask only some"):
        Campaign("request", trigger, (ASK,), topic="reviews")


def test_it_may_start_from_whatever_every_buyer_does() -> None:
    for trigger in (event(*PURCHASED), event("order_delivered", key="order_id"), anniversary(*PURCHASED, months=6)):
        Campaign("request", trigger, (ASK,), topic="reviews")


def test_what_is_the_same_for_everyone_may_choose() -> None:
    written = did("review_submitted", where=same("order_id"))
    never_was = did("order_cancelled", where=same("order_id"))
    request(
        Email("ask", "note", review_site=OWN, unless=written | never_was),
        audience=has_email & consented("reviews") & (attribute("country") == "DE"),
        goal=written,
        picks=(pick("page", (attribute("locale") == "de", {"path": "/de"})),),
    )


def test_an_ordinary_campaign_may_choose_as_it_likes() -> None:
    Campaign("plain", event("order_placed"), (Email("news", "note"),), topic="news", audience=UNFAIR["a stage"])


@pytest.mark.parametrize("name", ["discount_percent", "Voucher", "coupon_code", "gift_card", "store_credit"])
def test_an_option_that_gives_something_for_a_review_is_refused(name: str) -> None:
    chosen: Any = type("Chosen", (Options,), {"__annotations__": {name: int}, name: 5})
    with pytest.raises(DefinitionError, match=f"the option '{name}' would give something for a review"):
        request().resolve(chosen())
    Campaign("plain", event("e"), (Email("n", "note"),), topic="news").resolve(chosen())


def test_a_pick_that_gives_something_for_a_review_is_refused() -> None:
    with pytest.raises(DefinitionError, match="the pick 'voucher' would give something for a review"):
        request(picks=(pick("thanks", (has_email, {"voucher": "TEN"})),))
    with pytest.raises(DefinitionError, match="the pick 'discount' would give something for a review"):
        request(picks=(pick("thanks", (has_email, {"line": "A discount waits for you."})),))
    assert incentive_in(["days_after", "hour", "review_url"]) is None


@pytest.mark.parametrize(
    ("value", "why"),
    [("Get 10% off with your next order.", "'% off' would give"), ("https://www.yelp.com/x", "Yelp asks"), (OWN, None)],
)
def test_what_an_option_says_is_read_as_well(value: str, why: str | None) -> None:
    chosen: Any = type("Chosen", (Options,), {"__annotations__": {"closing": str}, "closing": value})
    if why is None:
        request().resolve(chosen())
    else:
        with pytest.raises(DefinitionError, match=why):
            request().resolve(chosen())


MESSAGES = {
    "<a href='https://www.yelp.com/biz/fernway'>Write</a>": "links to https://www.yelp.com/biz/fernway: Yelp asks",
    "<a href='https://bit.ly/3abc'>Write</a>": "bit.ly hides where it leads",
    "Write, and a voucher is yours.": "says 'voucher': nothing is given for a review",
    "Take 5% off.": "says '% off'",
    "{% if contact.nps|default(0) > 8 %}there{% else %}here{% endif %}": "line 1: a request for a review is the same",
    "{{ contact['score'] }}": "reads only country, email",
    "{{ contact|attr('score') }}": "reads only",
    "{% set person = contact %}{{ person.score }}": "reads only",
    "{{ contact.first_name }} {{ event.order_id }} {{ contact['country'] }} A gifted potter made it.": None,
    "{% from '_base/components.html' import greeting %}{{ greeting(contact) }}": None,
}


def saying(text: str) -> Callable[[str, Purpose], TemplateSource]:
    """Templates of which the second says this."""

    def load(name: str, _purpose: Purpose) -> TemplateSource:
        body = text if name == "next" else "<p>Write</p>"
        return TemplateSource(name, "0" * 64, {f"{name}/subject.txt": "Hello", f"{name}/body.html": body})

    return load


SERIES = Campaign("request", event("order_placed"), (ASK, Email("then", "next", after=days(1))), topic="reviews")


@pytest.mark.parametrize("text", MESSAGES)
def test_what_its_messages_say_is_read(text: str) -> None:
    sources = {name: saying(text)(name, MARKETING) for name in ("note", "next")}
    if (why := MESSAGES[text]) is None:
        check_review_messages(SERIES, sources)
    else:
        with pytest.raises(DefinitionError, match=f"step 'then': next/body.html.*{why}"):
            check_review_messages(SERIES, sources)


def test_a_version_with_such_a_message_is_not_stored(story: Story) -> None:
    with story.database.write() as connection:
        with pytest.raises(DefinitionError, match="says 'voucher': nothing is given for a review"):
            register(connection, SERIES, Options(), saying("A voucher waits."), story.now)
        register(connection, SERIES, Options(), saying("Good or bad."), story.now)


class Form(Options):
    """What a growth person may change."""

    review_url: str = Field(default=OWN)


def test_a_site_that_is_changed_in_the_form_is_looked_at_again(story: Story) -> None:
    open_site = request(Email("ask", "note", review_site=option("review_url")))
    with story.database.write() as connection:
        kept = register(connection, open_site, Form(), note, story.now)
        for url, why in (("https://www.yelp.com/x", "Yelp asks"), ("http://fernway.example", "not an https")):
            with pytest.raises(DefinitionError, match=why):
                register(connection, open_site, Form(review_url=url), note, story.now)
    (step,) = kept.campaign.steps
    assert isinstance(step, Email)
    assert step.review_site == OWN
