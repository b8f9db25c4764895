"""What each campaign's messages say, and what they leave out when they do not know it."""

from dataclasses import replace
from typing import Any

import pytest

from evergreet.reviews import INCENTIVES
from tests.templates.test_messages import NAMES, Page, rendered, sample

SITE = "https://www.fernway.example"


def said(name: str, **changed: Any) -> tuple[str, str, list[str]]:
    """Subject, text part and links of a message, with parts of its sample changed; both parts say the same."""
    made = rendered(name, replace(sample(name), **changed))
    page = Page(made.html)
    links = [str(link["href"]) for link in page.all("a")]
    for link in links:
        assert link == SITE or link in made.text, "whoever reads the text part can go there too"
    return made.subject, made.text, links


@pytest.mark.parametrize("name", NAMES)
def test_it_has_one_clear_action(name: str) -> None:
    made = rendered(name)
    assert made.html.count('class="button"') == 1


@pytest.mark.parametrize("name", NAMES)
def test_what_the_inbox_shows_beside_the_subject_adds_to_it(name: str) -> None:
    made = rendered(name)
    hidden = made.html.partition('<div style="display:none;')[2].partition(">")[2].partition("</div>")[0]
    preheader = hidden.partition("&#8199;")[0].strip()
    assert 20 < len(preheader) <= 120
    assert preheader not in made.subject


@pytest.mark.parametrize("name", NAMES)
def test_a_greeting_needs_no_name(name: str) -> None:
    subject, text, _ = said(name, contact={"first_name": None})
    assert "Maya" not in subject + text
    assert ", ," not in subject + text
    assert not subject.startswith(",")


@pytest.mark.parametrize(
    ("step", "opens", "subject"),
    [
        ("day-1", "Good to have you", "A good place to start: "),
        ("day-3", "This comes next", "Next on your list: "),
        ("day-7", "we will not remind you again", "Still open: "),
    ],
)
def test_a_nudge_leads_to_the_next_milestone_and_the_last_one_says_so(step: str, opens: str, subject: str) -> None:
    first, text, links = said("onboarding_nudges/next_step", step=step)
    assert first == f"{subject}Complete your profile"
    assert opens in text
    assert "shoe size" in text
    assert f"{SITE}/account" in links


@pytest.mark.parametrize("milestone", [{"title": "Say hello", "text": "", "path": "/hello", "event": "hello"}, None])
def test_a_nudge_needs_no_text_and_no_milestone(milestone: dict[str, str] | None) -> None:
    subject, _, links = said("onboarding_nudges/next_step", picked={"milestone": milestone})
    assert subject.endswith(": Say hello" if milestone else ": Have a look around")
    assert (f"{SITE}/hello" if milestone else SITE) in links


def test_everyone_is_asked_alike_for_a_review_and_gets_nothing_for_it() -> None:
    subject, text, links = said("review_request/request")
    assert [link for link in links if "/reviews" in link] == [f"{SITE}/reviews/new"]
    assert "Good or bad, it helps others choose." in text
    assert "Enamel camping mug" in text
    words = f"{subject} {text} {Page(rendered('review_request/request').html).words}".lower()
    for word in (*INCENTIVES, "%", "prize", "code", "happy", "enjoy", "love", "five stars", "5 stars"):
        assert word not in words


def test_a_review_is_asked_for_without_knowing_the_order() -> None:
    _, text, links = said("review_request/request", event={})
    assert "since your order." in text
    assert "\n- " not in text
    assert f"{SITE}/reviews/new" in links


@pytest.mark.parametrize(
    ("nth", "subject", "since"),
    [(1, "A year with us: 15% off", "a year since"), (3, "3 years with us: 15% off", "3 years since")],
)
def test_an_anniversary_counts_the_years(nth: int, subject: str, since: str) -> None:
    first, text, _ = said("anniversary_offer/offer", nth=nth)
    assert first.startswith(subject)
    assert since in text
    assert "THANKYOU15" in text
    assert "15% off your next order, within 14 days" in text


def test_an_offer_for_one_day_is_worded_so() -> None:
    options = {"discount_percent": 5, "code": "TODAY", "valid_days": 1}
    assert "5% off your next order, within one day" in said("anniversary_offer/offer", options=options)[1]


BASKET = ["abandoned_cart/reminder", "abandoned_cart/help", "abandoned_cart/last_note"]


@pytest.mark.parametrize("name", BASKET)
@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"name": "Mug", "quantity": 2, "price": 12, "currency": "GBP"}, "- Mug: 2 × £12.00\n"),
        ({"name": "Mug", "price": "12"}, "- Mug: 12.00\n"),
        ({"name": "Mug", "quantity": 3}, "- Mug × 3\n"),
        ({"name": "Mug"}, "- Mug\n"),
        ({"sku": "FW-1", "price": 12}, None),
    ],
)
def test_a_basket_shows_what_is_known_of_it(name: str, event: dict[str, Any], line: str | None) -> None:
    _, text, links = said(name, event=event)
    assert line is None or line in text
    assert ("- Mug" in text) is (line is not None)
    assert f"{SITE}/basket" in links
    assert "\n\n\n" not in text


def test_a_basket_is_named_in_the_subject_as_far_as_it_fits() -> None:
    assert said("abandoned_cart/reminder", event={"name": "Mug"})[0] == "Still in your basket: Mug"
    assert said("abandoned_cart/reminder", event={})[0] == "Your basket is still here"
    long = said("abandoned_cart/reminder", event={"name": "Enamel camping mug " * 9})[0]
    assert len(long) <= 78
    assert long.endswith("…")


def test_the_help_with_a_basket_answers_and_the_last_note_is_the_last() -> None:
    assert {f"{SITE}/delivery", f"{SITE}/returns", f"{SITE}/sizes"} <= set(said("abandoned_cart/help")[2])
    assert "the last time we write about this basket" in said("abandoned_cart/last_note")[1]


@pytest.mark.parametrize("name", ["win_back/we_miss_you", "win_back/last_word"])
@pytest.mark.parametrize("options", [{}, {"code": "", "discount_percent": 15}, {"code": "A", "discount_percent": 0}])
def test_winning_back_works_without_an_offer(name: str, options: dict[str, Any]) -> None:
    assert "WELCOMEBACK" in said(name)[1]
    assert "20% off" in said(name)[1]
    subject, text, _ = said(name, options=options)
    assert "%" not in subject + text
    assert "code" not in text


def test_the_last_word_says_that_it_is_the_last() -> None:
    _, text, links = said("win_back/last_word")
    assert "this is our last email, unless you come back" in text
    assert f"Drop by the shop: {SITE}\n" in text
    assert SITE in links


@pytest.mark.parametrize(
    ("event", "leads_to"),
    [
        ({"url": "https://shop.example/tent"}, "https://shop.example/tent"),
        ({"path": "/tents/fell 2"}, f"{SITE}/tents/fell%202"),
        ({"url": "http://shop.example/tent", "path": "/tents"}, f"{SITE}/tents"),
        ({"url": "javascript:alert(1)", "path": "tents"}, SITE),
        ({}, SITE),
    ],
)
def test_an_announcement_leads_to_the_product(event: dict[str, Any], leads_to: str) -> None:
    _, text, links = said("new_product_announcement/announcement", event={"name": "Tent", **event})
    assert f"Take a closer look: {leads_to}\n" in text
    assert leads_to in links


def test_an_announcement_shows_the_product_and_only_pictures_it_may() -> None:
    subject, text, _ = said("new_product_announcement/announcement")
    assert subject == "New: Fell 2 tent"
    assert "- Fell 2 tent: £289.00" in text
    assert "The porch is deep enough" in text
    assert [image["alt"] for image in Page(rendered("new_product_announcement/announcement").html).all("img")] == [
        "Fell 2 tent"
    ]
    context = replace(sample("new_product_announcement/announcement"), event={"image_url": "http://a.example/x.jpg"})
    made = rendered("new_product_announcement/announcement", context)
    assert made.subject == "Something new in the shop"
    assert "<img" not in made.html
