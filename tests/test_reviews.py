"""The rules of asking for reviews: where it is forbidden, and what would make it unfair."""

from typing import Any

import pytest
from pydantic import Field

from evergreet.campaign import Campaign, Email, Options, event, pick, stage_entered
from evergreet.campaigns import register
from evergreet.conditions import attribute, consented, did, has_email, in_campaign, prop, same, stage_is
from evergreet.durations import option
from evergreet.errors import DefinitionError
from evergreet.reviews import forbids_asking, incentive_in
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
        "https://amzn.to/3abc",
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
        "https://yelp.com@fernway.example/reviews", "https://theamazon.example",
    ],
)  # fmt: skip
def test_other_sites_are_not_taken_for_them(url: str) -> None:
    assert forbids_asking(url) is None
    request(Email("ask", "note", review_site=url))


@pytest.mark.parametrize(
    "url", ["http://www.fernway.example", "www.fernway.example", "https://", "https:///x", "https://[x"]
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


def test_what_is_the_same_for_everyone_may_choose() -> None:
    written = did("review_submitted", where=same("order_id"))
    request(
        Email("ask", "note", review_site=OWN, unless=written),
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
    assert incentive_in(["days_after", "hour", "review_url"]) is None


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
