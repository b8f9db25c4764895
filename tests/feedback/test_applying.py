"""What providers tell has its effect once, whatever the order, on the message, the address and the contact."""

import itertools
import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlmodel import col

from evergreet.audit import audit
from evergreet.campaign import MARKETING, Campaign, Email, event
from evergreet.clock import FrozenClock
from evergreet.conditions import did
from evergreet.consent import resubscribe
from evergreet.contracts import Kind, ProviderEvent, Verdict
from evergreet.database import Database
from evergreet.erasure import erase
from evergreet.feedback import applying
from evergreet.feedback.facts import facts_of
from evergreet.reconcile import reconcile
from evergreet.tokens import Tokens
from models import Consent, Message, Suppression
from tests.feedback.telling import Provider
from tests.story import Story

NEWS = Campaign(
    name="news", topic="news", trigger=event("order_placed", key="order_id"),
    steps=(Email("letter", template="note", purpose=MARKETING),),
)  # fmt: skip


def sent(story: Story, *names: str, campaign: Campaign = NEWS) -> list[int]:
    """Send one message to each; returns the contacts."""
    story.launch(campaign)
    contacts = [story.contact(name, consents=("news", "offers")) for name in names]
    story.happened("order_placed", *contacts)
    story.run(campaign)
    return contacts


def delivery(story: Story) -> str | None:
    found: str | None = story.messages[0].delivery
    return found


def suppressions(story: Story) -> dict[str, tuple[str, str, str]]:
    return {row.address: (row.scope, row.reason, row.source) for row in story.rows(Suppression)}


def agreed(story: Story, contact: int) -> dict[str, bool]:
    with story.database.read() as connection:
        rows = connection.execute(
            select(Consent).where(col(Consent.contact_id) == contact).order_by(col(Consent.at), col(Consent.id))
        )
        return {row.topic: row.granted for row in rows}


def clean(story: Story) -> bool:
    return all(one.clean for one in audit(story.database, story.clock))


def test_delivery_is_the_same_in_whatever_order_it_is_told(story: Story, provider: Provider) -> None:
    sent(story, "ana")
    told = [provider.event(kind) for kind in (Kind.ACCEPTED, Kind.DEFERRED, Kind.DELIVERED, Kind.SOFT_BOUNCED)]
    for order in itertools.islice(itertools.permutations(told), 0, None, 5):
        with story.database.write() as connection:
            connection.execute(text("DELETE FROM provider_event"))
            connection.execute(text("UPDATE message SET delivery = NULL"))
        for one in order:
            provider.tells(one)
        assert delivery(story) == "soft_bounced"
    assert provider.tells(*told).results == {}, "known already"
    assert provider.tells(provider.event(Kind.OPENED), provider.event(Kind.COMPLAINED)).results == {"applied": 2}
    assert delivery(story) == "complained"
    assert story.states() == {"accepted": 1}
    assert clean(story)


def test_who_opens_a_message_has_got_it(story: Story, provider: Provider) -> None:
    sent(story, "ana")
    provider.tells(provider.event(Kind.OPENED, machine=True))
    assert delivery(story) == "delivered"


@pytest.mark.parametrize(
    ("kind", "reason"), [(Kind.HARD_BOUNCED, "hard_bounce"), (Kind.COMPLAINED, "complaint")]
)  # fmt: skip
def test_a_hard_bounce_and_a_complaint_stop_everything(
    story: Story, provider: Provider, kind: Kind, reason: str
) -> None:
    sent(story, "ana")
    before = story.now
    story.clock.advance(timedelta(hours=3))
    provider.tells(provider.event(kind, at=before + timedelta(minutes=1), address="ANA@example.org"))
    assert suppressions(story) == {"ana@example.org": ("all", reason, "webhook:recorder")}
    assert story.rows(Suppression)[0].at == before + timedelta(minutes=1)
    story.happened("order_placed", story.contact("ana", consents=("news",)))
    story.run(NEWS)
    assert story.states() == {"accepted": 1, "skipped: suppressed": 1}


def test_an_answer_by_mail_is_placed_by_the_providers_name_and_the_address_it_went_to(
    story: Story, provider: Provider
) -> None:
    sent(story, "ana", "ben")
    ana = next(row for row in story.messages if row.address == "ana@example.org")

    def answer(name: str, address: str, days: int = 0) -> ProviderEvent:
        at = story.now + timedelta(days=days)
        return ProviderEvent(f"{name}{address}{days}", Kind.REPLIED, at, {}, address=address, provider_id=name)

    told = [
        answer(ana.provider_id, "ben@example.org"),
        answer("else", "ana@example.org"),
        answer("", "ana@example.org"),
    ]
    provider.tells(*told)
    story.clock.advance(timedelta(days=40))
    provider.tells(answer(ana.provider_id, "ana@example.org"))
    assert provider.facts == []
    provider.tells(answer(ana.provider_id, "Ana@example.org", -20))
    assert [(fact.name, fact.properties["message_id"]) for fact in provider.facts] == [("email_replied", ana.id)]
    assert story.states() == {"accepted": 2}
    assert clean(story)


def test_what_may_pass_suppresses_nobody(story: Story, provider: Provider) -> None:
    sent(story, "ana")
    for kind in (Kind.DEFERRED, Kind.SOFT_BOUNCED, Kind.BLOCKED, Kind.DROPPED, Kind.UNKNOWN):
        provider.tells(provider.event(kind))
    assert suppressions(story) == {}


def test_an_address_that_bounced_elsewhere_is_suppressed_although_no_row_is_known(
    story: Story, provider: Provider
) -> None:
    sent(story, "ana")
    foreign = provider.event(Kind.HARD_BOUNCED, row=0, key="", address="Ben@Example.org")
    other = provider.event(Kind.HARD_BOUNCED, row=999_999, key="another installation's", address="not an address")
    assert provider.tells(foreign, other).results == {"not_ours": 1, "no_such_row": 1}
    assert list(suppressions(story)) == ["ben@example.org"]
    assert [row.message_id for row in provider.stored] == [None, None]


def test_a_row_that_does_not_fit_the_key_is_not_touched(story: Story, provider: Provider) -> None:
    sent(story, "ana", "ben")
    second = story.messages[1].id
    provider.tells(provider.event(Kind.DELIVERED, row=second))
    assert [row.delivery for row in story.messages] == [None, None]
    assert provider.stored[0].result == "no_such_row"


def test_unsubscribing_at_the_provider_stops_marketing_to_the_mailbox(story: Story, provider: Provider) -> None:
    (ana,) = sent(story, "ana")
    twin = story.contact("ana", consents=("news",))
    story.clock.advance(timedelta(hours=1))
    provider.tells(provider.event(Kind.UNSUBSCRIBED), provider.event(Kind.UNSUBSCRIBED))
    assert suppressions(story) == {"ana@example.org": ("marketing", "unsubscribed", "webhook:recorder")}
    assert agreed(story, ana) == {"news": False, "offers": False}
    assert agreed(story, twin) == {"news": False}
    rows = [row for row in story.rows(Consent) if not row.granted]
    assert {(row.at, row.source) for row in rows} == {(story.now, "webhook:recorder")}
    assert len(rows) == 3


def test_leaving_a_group_takes_back_the_topic_of_the_message_only(story: Story, provider: Provider) -> None:
    (ana,) = sent(story, "ana")
    story.clock.advance(timedelta(hours=1))
    provider.tells(provider.event(Kind.GROUP_UNSUBSCRIBED))
    assert agreed(story, ana) == {"news": False, "offers": True}
    assert suppressions(story) == {}


def test_a_list_that_stands_for_a_topic_is_that_topic_whatever_the_message_was_about_and_without_it(
    story: Story, provider: Provider
) -> None:
    ana, ben = sent(story, "ana", "ben")
    elsewhere = {"row": 0, "key": "", "topic": "news"}
    provider.tells(
        provider.event(Kind.GROUP_UNSUBSCRIBED, topic="offers"),
        provider.event(Kind.GROUP_UNSUBSCRIBED, story.messages[1].id, **elsewhere),
    )
    assert agreed(story, ana) == {"news": True, "offers": False}
    assert agreed(story, ben) == {"news": False, "offers": True}
    assert suppressions(story) == {}


def test_who_agreed_again_before_a_late_unsubscription_is_told_stays_on(story: Story, provider: Provider) -> None:
    (ana,) = sent(story, "ana")
    story.clock.advance(timedelta(hours=1))
    left = story.now
    story.clock.advance(timedelta(hours=1))
    with story.database.write() as connection:
        resubscribe(connection, ana, "extras", at=story.now, source="page", wording="yes")
    story.clock.advance(timedelta(hours=1))
    provider.tells(provider.event(Kind.UNSUBSCRIBED, at=left))
    assert agreed(story, ana) == {"news": False, "offers": False, "extras": True}
    assert suppressions(story) == {}


def test_a_clock_that_is_ahead_does_not_reach_into_the_future(story: Story, provider: Provider) -> None:
    (ana,) = sent(story, "ana")
    story.clock.advance(timedelta(hours=1))
    provider.tells(provider.event(Kind.GROUP_UNSUBSCRIBED, at=story.now + timedelta(days=30)))
    story.clock.advance(timedelta(hours=1))
    with story.database.write() as connection:
        resubscribe(connection, ana, "news", at=story.now, source="page", wording="yes")
    assert agreed(story, ana)["news"]


def test_openings_and_clicks_are_events_that_conditions_ask_for(story: Story, provider: Provider) -> None:
    ana, ben, eva = sent(story, "ana", "ben", "eva")
    first, second, third = (row.id for row in story.messages)
    click = "https://user:pass@shop.example/tent?utm_source=mail&email=ben%40example.org#top"
    provider.tells(
        provider.event(Kind.OPENED, first, machine=True),
        provider.event(Kind.OPENED, second), provider.event(Kind.CLICKED, second, url=click),
        provider.event(Kind.CLICKED, third, url="https://mail.fernway.example/u/abc.def"),
        provider.event(Kind.DELIVERED, third), provider.event(Kind.HARD_BOUNCED, third),
        provider.event(Kind.UNKNOWN, third), provider.event(Kind.CLICKED, third, url="http://[broken"),
    )  # fmt: skip
    assert [(row.contact_id, row.name) for row in provider.facts] == [
        (ana, "email_opened_by_machine"), (ben, "email_opened"), (ben, "email_link_clicked"),
        (eva, "email_delivered"), (eva, "email_bounced"), (eva, "email_link_clicked"),
    ]  # fmt: skip
    assert provider.facts[2].properties == {
        "campaign_name": "news", "step": "letter", "message_id": second, "link_url": "https://shop.example/tent",
    }  # fmt: skip
    follow = Campaign(
        name="follow", topic="news", trigger=event("gave_up"), audience=did("email_opened"),
        steps=(Email("again", template="note", purpose=MARKETING),),
    )  # fmt: skip
    story.launch(follow)
    story.happened("gave_up", ana, ben)
    story.run(follow)
    assert story.sender.recipients.count("ben@example.org") == 2
    assert story.sender.recipients.count("ana@example.org") == 1


def test_an_event_that_is_stored_and_not_applied_is_applied_by_the_next(story: Story, provider: Provider) -> None:
    sent(story, "ana")
    provider.stores(provider.event(Kind.HARD_BOUNCED))  # and here the process was killed
    assert suppressions(story) == {}
    assert provider.apply().results == {"applied": 1}
    assert list(suppressions(story)) == ["ana@example.org"]
    assert provider.apply().results == {}


def test_two_that_apply_at_once_apply_each_event_once(
    story: Story, provider: Provider, database: Database, clock: FrozenClock
) -> None:
    contacts = sent(story, *(f"c{number}" for number in range(40)))
    provider.stores(*(provider.event(kind, row.id) for row in story.messages for kind in (Kind.OPENED, Kind.DELIVERED)))
    results = []
    threads = [threading.Thread(target=lambda: results.append(provider.apply())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(one.results["applied"] for one in results) == 80
    assert len(provider.facts) == 2 * len(contacts)
    assert {row.delivery for row in story.messages} == {"delivered"}


def test_more_than_a_batch_is_applied(story: Story, provider: Provider) -> None:
    sent(story, "ana")
    model = provider.event(Kind.OPENED)
    provider.stores(*(ProviderEvent(f"many{n}", Kind.OPENED, model.at, {}, row=model.row, key=model.key)
                      for n in range(2300)))  # fmt: skip
    assert provider.apply().results == {"applied": 2300}
    assert len(provider.facts) == 2300


def test_an_event_that_cannot_be_applied_keeps_no_other_from_it(
    story: Story, provider: Provider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sent(story, *(f"c{number}" for number in range(9)))
    events = [provider.event(Kind.OPENED, row.id, address="ana@example.org") for row in story.messages]
    poison = {events[3].id, events[7].id}
    real = facts_of

    def breaks(told: Any, places: Any) -> Any:
        if any(event.event_id in poison for event in told):
            raise ValueError("ana@example.org")
        return real(told, places)

    with monkeypatch.context() as patched:
        patched.setattr(applying, "facts_of", breaks)
        assert provider.tells(*events).results == {"applied": 7, "failed": 2}
        assert [row.delivery for row in story.messages].count("delivered") == 7
        assert {(row.event_id, row.result, row.applied_at) for row in provider.stored if row.event_id in poison} == {
            (name, "failed: ValueError", None) for name in poison
        }
        assert caplog.text.count("cannot be applied and is set aside: ValueError") == 2
        assert "ana@" not in caplog.text
        assert provider.apply().results == {}, "not again with every webhook"
    resolve = (story.database, story.sender, story.settings, story.clock)
    with monkeypatch.context() as patched:
        patched.setattr(applying, "facts_of", breaks)
        assert reconcile(*resolve).set_aside == 2
    assert reconcile(*resolve).set_aside == 0
    assert len(provider.facts) == 9
    assert {row.delivery for row in story.messages} == {"delivered"}
    assert clean(story)


def test_what_the_store_refuses_is_no_events_fault(
    story: Story, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent(story, "ana")

    def locked(*_: Any) -> None:
        raise OperationalError("UPDATE", {}, Exception("gone away"))

    provider.stores(provider.event(Kind.OPENED))
    with monkeypatch.context() as patched:
        patched.setattr(applying, "facts_of", locked)
        with pytest.raises(OperationalError):
            provider.apply()
    assert [row.result for row in provider.stored] == [""]
    assert provider.apply().results == {"applied": 1}


def test_an_erasure_empties_what_was_told_and_what_is_told_later(story: Story, provider: Provider) -> None:
    (ana,) = sent(story, "ana")
    personal: dict[str, Any] = {
        "raw": {"email": "ana@example.org", "ip": "1.2.3.4"},
        "url": "https://x.example/?e=ana@example.org",
    }
    provider.tells(provider.event(Kind.CLICKED, **personal))
    provider.tells(provider.event(Kind.DELIVERED, row=0, key="", **{**personal, "address": "Ana@EXAMPLE.org"}))
    provider.stores(provider.event(Kind.OPENED, **personal))
    late = provider.event(Kind.HARD_BOUNCED, **personal)
    foreign = provider.event(Kind.HARD_BOUNCED, row=0, key="", **personal)
    with story.database.write() as connection:
        erase(connection, ana, tokens=Tokens(["test-key"]), at=story.now, actor="test")
    facts = len(provider.facts)
    assert provider.tells(late, foreign).results == {"erased": 3}
    for row in provider.stored:
        assert (row.address, row.url, row.reason, row.payload) == ("", "", "", {})
    assert [address.partition(":")[0] for address in suppressions(story)] == ["hmac"]
    assert len(provider.facts) == facts
    assert delivery(story) == "hard_bounced", "which names nobody"


def test_what_no_store_takes_is_stored_all_the_same(story: Story, provider: Provider) -> None:
    sent(story, "ana")
    odd = "a\x00b\udcff" + "\\u0000" + "x" * 5000
    told = provider.event(
        Kind.CLICKED, raw={"odd": odd, "deep": [{"k\x00": 2**70}]}, url="https://x.example/" + odd,
        reason=odd, provider_id=odd, address=odd, id="id\x00",
    )  # fmt: skip
    assert provider.tells(told).results == {"applied": 1}
    assert provider.stored[0].payload["odd"].startswith("a�b?\\u0000xx")


def test_a_message_in_a_workers_hands_is_left_for_the_next_time(story: Story, provider: Provider) -> None:
    sent(story, "ana")
    early = provider.event(Kind.DELIVERED)
    with story.database.write() as connection:
        connection.execute(text("UPDATE message SET state = 'sending'"))
    applied = provider.tells(early)
    assert (applied.results, applied.waiting) == ({}, 1)
    with story.database.write() as connection:
        connection.execute(text("UPDATE message SET state = 'accepted'"))
    assert provider.apply().results == {"applied": 1}
    assert delivery(story) == "delivered"


def test_a_verdict_names_the_address_that_the_message_went_to(story: Story, provider: Provider) -> None:
    (ana,) = sent(story, "ana")
    with story.database.write() as connection:
        connection.execute(
            text("UPDATE contact SET address = 'new@example.org' WHERE id = :ana"), {"ana": ana}
        )  # fmt: skip
    provider.tells(provider.event(Kind.HARD_BOUNCED, verdict=Verdict.INVALID, address=""))
    assert list(suppressions(story)) == ["ana@example.org"]
    with story.database.read() as connection:
        assert connection.execute(select(col(Message.address))).scalar_one() == "ana@example.org"
