"""HubSpot: what changed is read whatever the limits of its search, and what is written arrives or says why."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.calling import make_client
from connectors.crm.hubspot import HubSpot
from connectors.crm.hubspot_settings import HubSpotSettings
from evergreet.contracts import (
    Accepted,
    Agreement,
    CrmConsent,
    CrmContact,
    CrmLastMessage,
    CrmNote,
    CrmPage,
    CrmRecord,
    CrmSink,
    CrmSource,
    CrmStage,
    CrmTask,
    Push,
)
from evergreet.errors import DataError, Misconfigured, Permanent, Retryable
from evergreet.testing import CrmConnectorContract
from tests.connectors.crm.hubspot_sink import START, HubSpotSink
from tests.connectors.email.sendgrid_wire import SILENT, WireServer
from tests.connectors.provider_sink import Told

TOKEN = "pat-canary-d0nt-tell"
LAG = timedelta(seconds=300)
ADA = CrmRecord("1", "ada@customer.example")


@pytest.fixture(scope="module")
def running() -> Iterator[HubSpotSink]:
    folder = os.environ.get("EVERGREET_FIXTURES")
    with HubSpotSink(TOKEN, Path(folder) / "specs" / "hubspot-from-sdk" if folder else None) as sink:
        yield sink


@pytest.fixture
def sink(running: HubSpotSink) -> Iterator[HubSpotSink]:
    """A local HubSpot; a request that breaks one of its rules fails the test."""
    running.forget()
    yield running
    assert running.faults == []


@pytest.fixture
def at() -> Iterator[Callable[..., HubSpot]]:
    with ExitStack() as made:

        def make(url: str, **options: Any) -> HubSpot:
            settings = HubSpotSettings.model_validate({"token": TOKEN, "base_url": url, "timeout": 20, **options})
            connector = HubSpot(settings, make_client(settings.connections))
            made.callback(connector.close)
            return connector

        yield make


class TestHubSpot(CrmConnectorContract):
    entry_point = "hubspot"
    required_settings = ("EVERGREET_HUBSPOT_TOKEN",)
    secrets = (TOKEN, "canary-client-secret")

    @pytest.fixture
    def connect(
        self, sink: HubSpotSink, at: Callable[..., HubSpot], monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[], HubSpot]:
        monkeypatch.setattr("connectors.crm.hubspot_changes.PAGE", 3)
        return lambda: at(
            sink.url, secret="canary-client-secret", stages={"loyalty": "customer"}, subscriptions={"news": "101"},
            lag_seconds=0,
        )  # fmt: skip

    @pytest.fixture
    def put(self, sink: HubSpotSink) -> Callable[[str, str], str]:
        def put(address: str, name: str) -> str:
            known = (number for number, one in sink.contacts.items() if one.properties["email"] == address)
            number = next(known, len(sink.contacts) + 1)
            if number in sink.contacts:
                sink.change(number, firstname=name)
            else:
                sink.add(number, address, firstname=name)
            return str(number)

        return put

    @pytest.fixture
    def at(self, at: Callable[..., HubSpot]) -> Callable[..., HubSpot]:
        return lambda url, **options: at(url, **{"timeout": 0.3, **options})

    @pytest.fixture
    def arrived(self, sink: HubSpotSink) -> Callable[[], list[Push]]:
        return lambda: sink.arrived({"customer": "loyalty"}, {"101": "news"})

    @pytest.fixture
    def silent(self, at: Callable[..., HubSpot]) -> Iterator[HubSpot]:
        with WireServer(SILENT) as server:
            yield at(server.url, timeout=0.1, subscriptions={"news": "101"})


def pull(connector: CrmSource, cursor: str = "") -> tuple[list[CrmContact], str, list[CrmPage]]:
    """Pull until nothing is left; the cursor is stored as text each time."""
    pages: list[CrmPage] = []
    while not pages or pages[-1].more:
        pages.append(connector.changed_since(pages[-1].cursor if pages else cursor))
        assert len(pages) < 100
        assert len(pages[-1].cursor) <= 1000
    return [contact for page in pages for contact in page.contacts], pages[-1].cursor, pages


def numbers(contacts: list[CrmContact]) -> list[int]:
    return [int(contact.id) for contact in contacts]


def test_a_contact_is_read_with_what_hubspot_knows(sink: HubSpotSink, at: Callable[..., HubSpot]) -> None:
    sink.add(
        51, "Ada@customer.example", START - timedelta(days=1), firstname="Ada", phone="+49 30 901820",
        hs_language="pt-br", hs_timezone="america_slash_port_hyphen_au_hyphen_prince", lifecyclestage="lead",
        hs_email_optout="true", hs_email_optout_101="true",
        hs_merged_object_ids="7;8", hs_calculated_merged_vids="7:1735689600000;51:1;x:2",
    )  # fmt: skip
    sink.add(52, at=START - timedelta(hours=1), hs_email_optout="false")
    connector = at(sink.url, subscriptions={"news": "101", "offers": "102"}, stages={"education": "lead"})
    (ada, other), _, _ = pull(connector)
    day_before = START - timedelta(days=1)
    assert ada == CrmContact(
        id="51", changed_at=day_before, email="Ada@customer.example", unsubscribed=True, merged=("7", "8"),
        details={
            "first_name": "Ada", "last_name": None, "phone": "+49 30 901820", "locale": "pt-br",
            "timezone": "America/Port-au-Prince", "stage": "education",
        },
        agreements=(Agreement("news", False, day_before),),
    )  # fmt: skip
    assert (other.email, other.unsubscribed, other.agreements, other.merged) == ("", False, (), ())
    assert set(other.details.values()) == {None}


def test_properties_of_the_account_come_as_numbers_and_truths_where_they_are(
    sink: HubSpotSink, at: Callable[..., HubSpot]
) -> None:
    sink.kinds = {
        "orders": {"type": "number", "fieldType": "number"}, "vip": {"type": "bool", "fieldType": "booleancheckbox"},
        "fan": {"type": "enumeration", "fieldType": "booleancheckbox"}, "size": {"type": "number"},
    }  # fmt: skip
    names = {name: name for name in ("orders", "vip", "fan", "size", "colour", "phone")}
    sink.add(1, orders="12", vip="true", fan="false", size="4.5", colour="7", phone="030")
    sink.add(2, orders="nan", vip="maybe", size="1e999")
    connector = at(sink.url, properties=names)
    told = {contact.id: contact.details for contact in pull(connector)[0]}
    assert told["1"] == {"orders": 12, "vip": True, "fan": False, "size": 4.5, "colour": "7", "phone": "030"}
    assert set(told["2"].values()) == {None}
    pull(connector)
    assert len([path for _, path, _ in sink.asked if "properties" in path]) == 1, "they are asked for once"


def test_more_than_a_search_gives_are_all_read_and_those_that_change_meanwhile_again(
    sink: HubSpotSink, at: Callable[..., HubSpot], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than 10,000 in all, 450 of them in one millisecond; a page that changes leaves nobody out."""
    monkeypatch.setattr(sink, "specs", None)  # the requests are those of the other tests
    then = START - timedelta(days=30)
    for number in range(1, 10_051):
        sink.add(number, at=then + timedelta(milliseconds=min(number, 9_000) if number < 9_450 else number))
    connector = at(sink.url)
    page = connector.changed_since("")
    moved = page.contacts[0].id
    sink.change(int(moved), firstname="later")
    contacts, cursor, pages = pull(connector, page.cursor)
    told = [*page.contacts, *contacts]
    assert {int(contact.id) for contact in told} == set(range(1, 10_051))
    assert [contact.details["first_name"] for contact in told if contact.id == moved] == [None, "later"]
    assert len(told) < 10_051 + 2 * 450 + 2 * len(pages)
    assert pull(connector, cursor)[0][0].id == moved, "what changed within the lag is told again, and no more"
    assert sink.now is not None
    sink.now += 2 * LAG
    _, cursor, _ = pull(connector, cursor)
    assert pull(connector, cursor)[0] == []


def test_what_the_index_shows_late_is_told_by_the_next_pull(sink: HubSpotSink, at: Callable[..., HubSpot]) -> None:
    connector = at(sink.url)
    sink.add(1, at=START - timedelta(days=1))
    _, cursor, _ = pull(connector)
    sink.add(2, at=START - timedelta(seconds=200))
    assert numbers(pull(connector, cursor)[0]) == [2]


def test_a_contact_that_changed_again_hides_nobody_behind_it(sink: HubSpotSink, at: Callable[..., HubSpot]) -> None:
    """The index has 260 by their old moments, and shows the page's last one with the moment that it has by now."""
    then = START - timedelta(days=1)
    for number in range(1, 261):
        sink.add(number, at=then + timedelta(seconds=number))
    late = sink.contacts[200]
    late.indexed, late.changed = late.changed, START
    contacts, _, _ = pull(at(sink.url))
    assert set(numbers(contacts)) == set(range(1, 261))
    for number in range(1, 261):
        sink.contacts[number].indexed, sink.contacts[number].changed = sink.contacts[number].changed, START
    contacts, _, _ = pull(at(sink.url))
    assert set(numbers(contacts)) == set(range(1, 261)), "and where all of a page are so"


def test_the_deleted_are_told_once_in_a_while(sink: HubSpotSink, at: Callable[..., HubSpot]) -> None:
    for number in range(1, 106):
        sink.add(number, at=START - timedelta(days=1))
    connector = at(sink.url)
    for number in range(1, 103):
        sink.contacts[number].archived = START - timedelta(days=10)
    contacts, cursor, _ = pull(connector)
    assert numbers(contacts) == [105, 104, 103], "who was deleted before is not known here"
    sink.archive(103)
    assert sink.now is not None
    sink.now += timedelta(minutes=30)
    contacts, cursor, _ = pull(connector, cursor)
    assert contacts == [], "not yet"
    sink.now += timedelta(minutes=31)
    contacts, cursor, _ = pull(connector, cursor)
    assert contacts == [CrmContact("103", START + timedelta(seconds=1), deleted=True)]
    assert pull(connector, cursor)[0] == []


@pytest.mark.parametrize("cursor", ["x", "[]", "7", '{"since": -1}', '{"since": "1"}', '{"to": 1}', '{"gone": 1e99}'])
def test_a_cursor_that_is_none_says_how_to_begin_anew(at: Callable[..., HubSpot], cursor: str) -> None:
    with pytest.raises(DataError, match="begin anew"):
        at("http://127.0.0.1:1").changed_since(cursor)


def test_what_cannot_be_read_is_left_out_and_named(sink: HubSpotSink, at: Callable[..., HubSpot]) -> None:
    whole: dict[str, Any] = {"id": "3", "properties": {"lastmodifieddate": "2026-03-01T00:00:00Z"}}
    odd: list[Any] = [None, 7, [], {}, {"id": 5}, {"id": "x"}, {"id": "4", "properties": {"lastmodifieddate": "soon"}}]
    values: list[Any] = [None, 7, [], {}, True, "\ud800", "x" * 3000]
    odd += [{**whole, "properties": {**whole["properties"], "email": one, "hs_email_optout": one,
             "hs_merged_object_ids": one, "hs_timezone": one}} for one in values if one != "\ud800"]  # fmt: skip
    sink.judge = lambda method, path, body: Told(200, {"total": 1, "results": [*odd, whole], "paging": []})
    page = at(sink.url).changed_since("")
    assert {contact.id for contact in page.contacts} == {"3"}
    assert len(page.contacts) == 7
    assert dict(page.unreadable)["4"] == "It cannot be read when the contact changed."
    assert not page.more


def test_a_search_that_did_not_sort_is_not_believed(sink: HubSpotSink, at: Callable[..., HubSpot]) -> None:
    results = [{"id": str(n), "properties": {"lastmodifieddate": f"2026-03-0{n}T00:00:00Z"}} for n in (2, 1)]
    told = Told(200, {"total": 9, "results": results, "paging": {"next": {"after": "200"}}})
    sink.judge = lambda method, path, body: told
    with pytest.raises(Retryable, match="out of order"):
        at(sink.url).changed_since("")


REFUSALS: list[tuple[Told, type[Exception], int | None]] = [
    (Told(401, {"message": "expired"}), Misconfigured, None),
    (Told(403, {"message": "scopes", "category": "MISSING_SCOPES"}), Misconfigured, None),
    (Told(404, b"<html>"), Misconfigured, None),
    (Told(302, b"", {"location": "http://127.0.0.1:1/"}), Misconfigured, None),
    (Told(429, {"message": "x", "policyName": "TEN_SECONDLY_ROLLING"},
          {"X-HubSpot-RateLimit-Interval-Milliseconds": "10000"}), Retryable, 10),
    (Told(429, {"message": "x", "policyName": "SECONDLY"}, {"Retry-After": "3"}), Retryable, 3),
    (Told(429, {"message": "x", "policyName": "DAILY"}), Retryable, 3600),
    (Told(429, b"busy"), Retryable, None),
    (Told(423, {"message": "locked"}), Retryable, 2),
    (Told(477, {"message": "moving"}, {"Retry-After": "600"}), Retryable, 600),
    (Told(500, {"message": "oops"}), Retryable, None),
    (Told(521, b""), Retryable, None),
    (Told(200, b'{"results": [{"id"'), Retryable, None),
    (Told(200, b"<html>"), Retryable, None),
    (Told(200, {"hello": "there"}), Retryable, None),
]  # fmt: skip


@pytest.mark.parametrize(("told", "kind", "seconds"), REFUSALS, ids=[str(n) for n in range(len(REFUSALS))])
def test_each_answer_to_a_question_and_to_a_change_has_its_error(
    sink: HubSpotSink, at: Callable[..., HubSpot], told: Told, kind: type[Exception], seconds: int | None
) -> None:
    sink.judge = lambda method, path, body: told
    with pytest.raises(kind) as refused:
        at(sink.url).changed_since("")
    pushed = at(sink.url).push([CrmNote(ADA, "k", "t", "x", START), CrmTask(ADA, "k", "t", "x", START)])
    assert [type(outcome) for outcome in pushed] == [kind, kind]
    for fault in (refused.value, pushed[0]):
        assert TOKEN not in repr(fault) + repr(fault.__dict__)
        if isinstance(fault, Retryable):
            assert fault.retry_after == (None if seconds is None else timedelta(seconds=seconds))
    if isinstance(refused.value, Retryable):
        assert refused.value.accepted == "no", "a question may always be asked again"
        assert isinstance(pushed[0], Retryable)
        assert isinstance(pushed[1], Retryable)
        assert pushed[0].accepted == ("maybe" if told.status in {200, 500, 521} else "no")
        assert pushed[1].accepted == ("maybe" if told.status == 200 else "no"), "nothing is begun after a doubt"


def test_everything_that_is_written_arrives(sink: HubSpotSink, at: Callable[..., HubSpot]) -> None:
    sink.add(1, "ada@customer.example", lifecyclestage="lead")
    sink.add(2, "bob@customer.example", hs_additional_emails="bobby@customer.example")
    by_address = CrmRecord("", "Bobby@customer.example ")
    noon = datetime(2026, 3, 10, 12, tzinfo=UTC)
    connector = at(
        sink.url, stages={"loyalty": "customer"}, subscriptions={"news": "101"}, task_owner="77",
        legal_basis="CONSENT_WITH_NOTICE",
    )  # fmt: skip
    assert isinstance(connector, CrmSink)
    batch: list[Push] = [
        CrmStage(ADA, "opportunity", noon), CrmStage(by_address, "loyalty", noon), CrmStage(ADA, "loyalty", noon),
        CrmLastMessage(ADA, "thank-you/receipt", noon),
        CrmNote(by_address, "n1", "Sent <b>", "Dear & near\n\nBye 😀", noon),
        CrmTask(ADA, "t1", "Call Ada", "About her order", noon + timedelta(days=1)),
        CrmConsent(ADA, True, noon, "news"), CrmConsent(CrmRecord("2"), False, noon),
        CrmStage(CrmRecord("9"), "lead", noon), CrmNote(CrmRecord("9"), "n3", "t", "x", noon),
        CrmNote(CrmRecord("", "nobody@customer.example"), "n2", "t", "x", noon),
    ]  # fmt: skip
    outcomes = connector.push(batch)
    assert outcomes[:8] == [Accepted(name) for name in ("1", "2", "1", "1", "100", "100", "101", "101,102")]
    assert [type(outcome) for outcome in outcomes[8:]] == [Permanent] * 3
    assert sink.contacts[1].properties["lifecyclestage"] == sink.contacts[2].properties["lifecyclestage"] == "customer"
    assert sink.contacts[1].properties["evergreet_last_message"] == "thank-you/receipt"
    assert sink.contacts[1].properties["evergreet_last_message_at"] == "1773144000000"
    (note,), (task,) = sink.made["notes"], sink.made["tasks"]
    assert note["associations"][0]["to"] == {"id": "2"}
    assert note["properties"] == {
        "hs_timestamp": "1773144000000",
        "hs_note_body": "<p><strong>Sent &lt;b&gt;</strong></p><p>Dear &amp; near</p><p>Bye 😀</p>",
    }
    assert task["properties"] == {
        "hs_timestamp": "1773230400000", "hs_task_subject": "Call Ada", "hs_task_body": "<p>About her order</p>",
        "hs_task_status": "NOT_STARTED", "hs_task_type": "TODO", "hubspot_owner_id": "77",
    }  # fmt: skip
    assert sink.subscribed == {
        ("ada@customer.example", "101"): "SUBSCRIBED", ("bob@customer.example", "101"): "NOT_SUBSCRIBED",
        ("bob@customer.example", "102"): "NOT_SUBSCRIBED",
    }  # fmt: skip
    assert not [path for _, path, _ in sink.asked if "nobody" in path]
    again = connector.push([batch[0], batch[6], batch[7], CrmConsent(CrmRecord("2"), True, noon, "news")])
    assert isinstance(again[0], Permanent), "a lifecycle stage does not go backward"
    assert again[1:3] == outcomes[6:8], "what is so already is no failure"
    assert isinstance(again[3], Permanent), "who opted out there must agree there"


def test_a_batch_goes_by_the_hundred_and_one_bad_record_hurts_no_other(
    sink: HubSpotSink, at: Callable[..., HubSpot]
) -> None:
    for number in range(1, 251):
        sink.add(number)
    batch: list[Push] = [CrmStage(CrmRecord(str(number)), "lead", START) for number in range(1, 251)]
    batch[120] = CrmStage(CrmRecord("121"), "no such stage", START)
    batch[7] = CrmStage(CrmRecord("0071"), "lead", START)
    batch[8] = CrmStage(CrmRecord("c-8"), "lead", START)
    batch[9] = CrmStage(CrmRecord("", "not an address"), "lead", START)
    batch[10] = CrmNote(CrmRecord("11"), "k", "a lone \ud800", "x", START)
    outcomes = at(sink.url).push(batch)
    refused = {place: outcome for place, outcome in enumerate(outcomes) if outcome != Accepted(str(place + 1))}
    assert set(refused) == {7, 8, 9, 10, 120}
    assert all(isinstance(outcome, Permanent) for outcome in refused.values()), refused


def test_what_is_not_told_of_is_written_again_and_a_missing_property_is_our_fault(
    sink: HubSpotSink, at: Callable[..., HubSpot]
) -> None:
    two: list[Push] = [CrmStage(ADA, "lead", START), CrmStage(CrmRecord("2"), "lead", START)]
    results: list[Any] = [{"id": "1", "properties": {}}, None]
    limit = {"category": "RATE_LIMITS", "message": "x", "context": {"ids": ["2", 7]}}
    for errors, kind, accepted in (
        (None, Retryable, "no"), ([limit, 5], Retryable, "no"), ([{"message": "m", "context": 5}], Permanent, None),
    ):  # fmt: skip
        told = Told(207, {"results": results, "errors": errors})
        sink.judge = lambda method, path, body, told=told: told  # type: ignore[misc]
        first, second = at(sink.url).push(two)
        assert first == Accepted("1")
        assert type(second) is kind
        assert getattr(second, "accepted", None) == accepted
    made = [{"id": "100", "properties": {}}]
    answer = Told(207, {"results": made, "errors": [{"message": "m", "category": "VALIDATION_ERROR"}]})
    sink.judge = lambda method, path, body: answer
    notes = at(sink.url).push([CrmNote(ADA, str(number), "t", "x", START) for number in range(2)])
    assert [getattr(one, "accepted", None) for one in notes] == ["maybe", "maybe"], "nobody knows which one it was"
    sink.judge = lambda method, path, body: None
    sink.add(1)
    sink.unknown = {"evergreet_last_message"}
    (outcome,) = at(sink.url).push([CrmLastMessage(ADA, "x", START)])
    assert isinstance(outcome, Misconfigured)
    assert "evergreet_last_message" in outcome.reason
    with pytest.raises(Misconfigured, match="have no evergreet_last_message:"):
        at(sink.url).check()
    (outcome,) = at(sink.url, last_message_property="", last_message_at_property="").push(
        [CrmLastMessage(ADA, "x", START)]
    )
    assert isinstance(outcome, Permanent)


def test_a_check_names_what_answers(sink: HubSpotSink, at: Callable[..., HubSpot]) -> None:
    assert "has all 8 properties; no webhooks" in at(sink.url).check()
    assert at(sink.url).push([]) == []
    with HubSpotSink("another") as other, pytest.raises(Misconfigured, match="EVERGREET_HUBSPOT_TOKEN"):
        at(other.url).check()


def test_a_silent_hubspot_is_waited_for_only_so_long(at: Callable[..., HubSpot]) -> None:
    with WireServer(SILENT) as server:
        connector = at(server.url, timeout=0.1)
        with pytest.raises(Retryable) as refused:
            connector.changed_since("")
        (outcome,) = connector.push([CrmNote(ADA, "k", "t", "x", START)])
    assert refused.value.accepted == "no"
    assert isinstance(outcome, Retryable)
    assert outcome.accepted == "maybe"


def test_a_note_may_be_an_event_and_is_then_made_once(sink: HubSpotSink, at: Callable[..., HubSpot]) -> None:
    import hubspot
    from hubspot.events.send import BatchedBehavioralEventHttpCompletionRequest, BehavioralEventHttpCompletionRequest

    sink.add(1, "ada@customer.example")
    sink.events = {"pe7_note": {}}
    connector = at(sink.url, note_event="pe7_note")
    notes: list[Push] = [CrmNote(ADA, f"k{number}", "Sent <b> 😀", "x\ny" * 100, START) for number in range(102)]
    notes.append(CrmNote(CrmRecord("", "nobody@customer.example"), "k", "t", "x", START))
    notes[5] = CrmNote(ADA, "k5", "a lone \ud800", "x", START)
    sink.judge = lambda method, path, body: Told(500, b"") if path.startswith("/events") else None
    (in_doubt,) = connector.push(notes[:1])
    assert isinstance(in_doubt, Retryable)
    assert in_doubt.accepted == "no", "it is made once, so it may be told again"
    sink.judge = lambda method, path, body: None
    outcomes = connector.push(notes)
    assert [place for place, one in enumerate(outcomes) if isinstance(one, Permanent)] == [5, 102]
    held = sink.events["pe7_note"]
    assert len(held) == 101
    first = held[outcomes[0].provider_id]  # type: ignore[union-attr]
    assert first["properties"] == {"title": "Sent <b> 😀", "text": f"{('x y' * 86)[:255]}…"}
    assert (first["objectId"], first["occurredAt"]) == ("1", "2026-03-10T12:00:00+00:00")
    assert connector.push(notes[:5]) == outcomes[:5]
    assert len(held) == 101
    assert sink.made["notes"] == []
    ours = sink.asked[-1]
    theirs = BehavioralEventHttpCompletionRequest(
        event_name="pe7_note", object_id="1", occurred_at=START, uuid=first["uuid"], properties=first["properties"]
    )
    client = hubspot.Client.create(access_token=TOKEN, host=sink.url)
    client.events.send.batch_api.send(BatchedBehavioralEventHttpCompletionRequest(inputs=[theirs]))
    assert sink.asked[-1][:2] == ours[:2]
    assert sink.asked[-1][2]["inputs"][0] == ours[2]["inputs"][0]
    (wrong,) = at(sink.url, note_event="pe7_other").push(notes[:1])
    assert isinstance(wrong, Misconfigured)
    assert "EVERGREET_HUBSPOT_NOTE_EVENT" in wrong.reason


def test_their_own_package_writes_the_same_requests_and_is_served_as_well(
    sink: HubSpotSink, at: Callable[..., HubSpot]
) -> None:
    import hubspot
    from hubspot.communication_preferences import PublicUpdateSubscriptionStatusRequest
    from hubspot.crm.contacts import (
        BatchInputSimplePublicObjectBatchInput,
        BatchReadInputSimplePublicObjectId,
        Filter,
        FilterGroup,
        PublicObjectSearchRequest,
        SimplePublicObjectBatchInput,
    )
    from hubspot.crm.objects import (
        AssociationSpec,
        BatchInputSimplePublicObjectBatchInputForCreate,
        PublicAssociationsForObject,
        PublicObjectId,
        SimplePublicObjectBatchInputForCreate,
    )

    sink.add(1, "ada@customer.example", at=START - timedelta(days=1))
    connector = at(sink.url, properties={"firstname": "first_name"}, subscriptions={"news": "101"}, deletions_minutes=0)
    pull(connector)
    connector.push([
        CrmStage(CrmRecord("", "ada@customer.example"), "lead", START), CrmNote(ADA, "k", "t", "x", START),
        CrmConsent(ADA, False, START, "news"),
    ])  # fmt: skip
    connector.check()
    ours, sink.asked = sink.asked, []
    sink.subscribed = {}

    client = hubspot.Client.create(access_token=TOKEN, host=sink.url)
    search, listed, read, update, note, consent, _ = ours
    since = FilterGroup(filters=[Filter(property_name="lastmodifieddate", operator="GTE", value="0")])
    found = client.crm.contacts.search_api.do_search(PublicObjectSearchRequest(
        filter_groups=[since], sorts=["lastmodifieddate"], properties=search[2]["properties"], limit=200
    ))  # fmt: skip
    assert [one.id for one in found.results] == ["1"]
    client.crm.contacts.basic_api.get_page(limit=100, archived=True, properties=["hs_object_id"])
    client.crm.contacts.batch_api.read(BatchReadInputSimplePublicObjectId(
        properties=["email", "hs_additional_emails"], properties_with_history=[], id_property="email",
        inputs=[{"id": "ada@customer.example"}],
    ))  # fmt: skip
    changed = SimplePublicObjectBatchInput(id="1", properties={"lifecyclestage": "lead"})
    done = client.crm.contacts.batch_api.update(BatchInputSimplePublicObjectBatchInput(inputs=[changed]))
    assert done.results[0].properties["lifecyclestage"] == "lead"
    to_ada = PublicAssociationsForObject(
        to=PublicObjectId(id="1"),
        types=[AssociationSpec(association_category="HUBSPOT_DEFINED", association_type_id=202)],
    )
    made = SimplePublicObjectBatchInputForCreate(
        associations=[to_ada], object_write_trace_id="1", properties=note[2]["inputs"][0]["properties"]
    )
    client.crm.objects.batch_api.create("notes", BatchInputSimplePublicObjectBatchInputForCreate(inputs=[made]))
    told = PublicUpdateSubscriptionStatusRequest(email_address="ada@customer.example", subscription_id="101")
    client.communication_preferences.status_api.unsubscribe(told)
    theirs = [(method, path.replace("%2C", ","), body) for method, path, body in sink.asked]
    assert [sorted_query(one) for one in theirs] == [
        sorted_query(one) for one in (search, listed, read, update, note, consent)
    ]


def sorted_query(asked: tuple[str, str, Any]) -> tuple[str, list[str], Any]:
    method, path, body = asked
    """Return a request with its query in order; their True is ours, in small letters."""
    where, _, query = path.lower().partition("?")
    return method, [where, *sorted(query.split("&"))], body
