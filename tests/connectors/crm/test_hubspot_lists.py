"""HubSpot's lists: who is on one is known by an attribute, who leaves it as well, whatever its size."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from connectors.calling import make_client
from connectors.crm.hubspot import HubSpot
from connectors.crm.hubspot_settings import HubSpotSettings
from evergreet.contracts import Accepted, CrmMembers, CrmMembership, CrmPage, CrmRecord, HasLists
from evergreet.errors import Misconfigured, Permanent, Retryable
from tests.connectors.crm.hubspot_sink import ContactList, HubSpotSink
from tests.connectors.provider_sink import Told

TOKEN = "pat-canary-lists"
VIP = {"lists": {"vip": "41"}}
Connect = Callable[..., HubSpot]


@pytest.fixture(scope="module")
def running() -> Iterator[HubSpotSink]:
    folder = os.environ.get("EVERGREET_FIXTURES")
    with HubSpotSink(TOKEN, Path(folder) / "specs" / "hubspot-from-sdk" if folder else None) as sink:
        yield sink


@pytest.fixture
def sink(running: HubSpotSink) -> Iterator[HubSpotSink]:
    """A local HubSpot; a request that breaks its description or its limits fails the test."""
    running.forget()
    yield running
    assert running.faults == []


@pytest.fixture
def connect(sink: HubSpotSink) -> Iterator[Connect]:
    with ExitStack() as made:

        def make(**options: Any) -> HubSpot:
            settings = {"token": TOKEN, "base_url": sink.url, "timeout": 20, **VIP, **options}
            connector = HubSpot(HubSpotSettings.model_validate(settings), make_client(1))
            made.callback(connector.close)
            return connector

        yield make


def pages(connector: HubSpot, cursor: str = "") -> list[CrmPage]:
    """Pull until nothing is left."""
    found: list[CrmPage] = []
    while not found or found[-1].more:
        found.append(connector.changed_since(found[-1].cursor if found else cursor))
        assert len(found[-1].cursor) <= 1000
    return found


def parts(found: list[CrmPage]) -> list[CrmMembers]:
    return [part for page in found for part in page.members]


def test_lists_are_told_in_parts_that_leave_nobody_out(sink: HubSpotSink, connect: Connect) -> None:
    sink.lists = {"41": ContactList(set(range(1000, 2200, 2))), "42": ContactList(set(), "DYNAMIC")}
    found = pages(connect(lists={"vip": "41", "empty": "42"}))
    told = parts(found)
    assert [(part.list, len(part.members), part.after, part.upto) for part in told] == [
        ("vip", 250, 0, 1498), ("vip", 250, 1498, 1998), ("vip", 100, 1998, None), ("empty", 0, 0, None),
    ]  # fmt: skip
    assert [one for part in told for one in part.members] == list(range(1000, 2200, 2))
    assert [page.unreadable for page in found] == [()] * len(found)


def test_lists_are_read_through_when_they_are_due_and_what_changes_is_read_meanwhile(
    sink: HubSpotSink, connect: Connect
) -> None:
    sink.lists = {"41": ContactList({7})}
    first = pages(connect())
    assert parts(first) == [CrmMembers("vip", (7,))]
    sink.add(8)
    again = pages(connect(), first[-1].cursor)
    assert ([one.id for page in again for one in page.contacts], parts(again)) == (["8"], [])
    later = pages(connect(lists_minutes=0), again[-1].cursor)
    assert parts(later) == [CrmMembers("vip", (7,))]
    assert parts(pages(connect(lists={}), later[-2].cursor)) == [], "one that is no setting any more is passed over"


def test_a_list_that_cannot_be_read_hinders_no_other_and_nobody_leaves_it(sink: HubSpotSink, connect: Connect) -> None:
    two = {"lists": {"vip": "41", "news": "42"}, "lists_minutes": 0}
    good = ContactList({7})
    scopes = {
        "status": "error", "category": "MISSING_SCOPES", "message": "This app hasn't been granted all required scopes.",
        "errors": [{"message": "One or more are required.", "context": {"requiredGranularScopes": ["crm.lists.read"]}}],
    }  # fmt: skip
    disorder = {"results": [{"recordId": "9", "membershipTimestamp": "x"}, {"recordId": "8"}]}
    for bad, judge, reason in (
        (None, None, "has no list 41: it was deleted, or EVERGREET_HUBSPOT_LISTS"),
        (ContactList(about="0-2"), None, "list 41 is none of contacts"),
        (ContactList(state="PROCESSING"), None, r"working out who is on its list 41 \(PROCESSING\)"),
        (ContactList(size=3), None, "that 3 are on its list 41, and names nobody"),
        (ContactList({1}), Told(403, scopes), "Give the private app crm.lists.read"),
        (ContactList({1}), Told(200, disorder), "in no order"),
        (ContactList({1}), Told(400, {"message": "Invalid after", "category": "VALIDATION_ERROR"}), "Invalid after"),
    ):
        sink.lists = {"42": good, **({"41": bad} if bad else {})}
        sink.judge = lambda method, path, body, told=judge: told if "/41/memberships" in path else None  # type: ignore[misc]
        found = pages(connect(**two))
        assert parts(found) == [CrmMembers("news", (7,))], reason
        ((name, why),) = [one for page in found for one in page.unreadable]
        assert name == "list vip"
        assert re.search(reason, why), why


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (Told(429, {"message": "x", "policyName": "SECONDLY"}, {"Retry-After": "3"}), Retryable),
        (Told(503, b""), Retryable),
        (Told(200, b'{"results": [{"recordId'), Retryable),
        (Told(200, {"results": [{"recordId": "x"}]}), Retryable),
        (Told(200, {"results": [None]}), Retryable),
        (Told(200, {"results": [{"recordId": str(2**63)}]}), Retryable),
        (Told(200, {}), Retryable),
    ],
)
def test_a_page_that_says_nothing_certain_is_asked_for_again(
    sink: HubSpotSink, connect: Connect, told: Told, kind: type[Exception]
) -> None:
    sink.lists = {"41": ContactList({7})}
    first = connect().changed_since("")
    sink.judge = lambda method, path, body: told if "memberships" in path else None
    with pytest.raises(kind):
        connect().changed_since(first.cursor)
    sink.judge = lambda method, path, body: None
    assert connect().changed_since(first.cursor).members == (CrmMembers("vip", (7,)),)


def test_a_check_names_a_list_that_is_not_there(sink: HubSpotSink, connect: Connect) -> None:
    sink.lists = {"41": ContactList()}
    assert "and all 1 lists" in connect().check()
    with pytest.raises(Misconfigured, match="has no list 42"):
        connect(lists={"vip": "41", "other": "42"}).check()


@pytest.mark.parametrize("lists", [{"Vip": "1"}, {"phone": "1"}, {"first_name": "1"}, {"vip": "List 1"}, {"vip": ""}])
def test_a_list_that_could_be_no_attribute_is_no_setting(lists: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="LISTS: "):
        HubSpotSettings.model_validate({"token": TOKEN, "lists": lists})


def test_people_are_put_on_lists_and_taken_off_and_told_again_it_is_no_harm(
    sink: HubSpotSink, connect: Connect
) -> None:
    for number in range(1, 251):
        sink.add(number, f"c{number}@customer.example")
    sink.lists = {"41": ContactList({1, 5}), "42": ContactList({2}, "SNAPSHOT")}
    connector = connect(lists={"vip": "41", "news": "42"})
    assert isinstance(connector, HasLists)
    assert set(connector.lists) == {"vip", "news"}
    batch = [CrmMembership(CrmRecord(str(number)), "vip", True) for number in range(2, 251)]
    batch += [
        CrmMembership(CrmRecord("", "C1@customer.example"), "vip", False), CrmMembership(CrmRecord("2"), "news", False),
        CrmMembership(CrmRecord("3"), "vip", False), CrmMembership(CrmRecord("999"), "vip", True),
        CrmMembership(CrmRecord("", "nobody@customer.example"), "vip", True), CrmMembership(CrmRecord("4"), "x", True),
    ]  # fmt: skip
    outcomes = connector.push(batch)
    assert outcomes[:252] == [Accepted(name) for name in (*map(str, range(2, 251)), "1", "2", "3")]
    assert [type(one) for one in outcomes[252:]] == [Permanent, Permanent, Misconfigured]
    assert sink.lists["41"].members == {2, *range(4, 251)}, "the last word about somebody stands"
    assert sink.lists["42"].members == set()
    assert max(len(body) for _, path, body in sink.asked if "/memberships/" in path) == 100
    assert connector.push(batch)[:252] == outcomes[:252]


def test_a_list_that_nobody_can_be_put_on_is_our_fault_and_a_doubt_is_none(sink: HubSpotSink, connect: Connect) -> None:
    sink.add(1)
    on = [CrmMembership(CrmRecord("1"), "vip", True)]
    wrong = Told(400, {"message": "no", "category": "VALIDATION_ERROR"})
    for held, reason in (
        (ContactList(set(), "DYNAMIC"), "HubSpot itself works out who is on its list 41"), (None, "has no list 41"),
        (ContactList(about="0-2"), "none of contacts"),
    ):  # fmt: skip
        sink.lists = {"41": held} if held else {}
        sink.judge = lambda method, path, body: wrong if method == "PUT" and "41" in sink.lists else None
        (outcome,) = connect().push(on)
        assert isinstance(outcome, Misconfigured)
        assert reason in outcome.reason
    sink.lists = {"41": ContactList()}
    for told in (Told(500, b""), Told(200, b'{"recordIds'), Told(200, {})):
        sink.judge = lambda method, path, body, told=told: told  # type: ignore[misc]
        (outcome,) = connect().push(on)
        assert isinstance(outcome, Retryable)
        assert outcome.accepted == "no", "it may be told again"
    sink.judge = lambda method, path, body: Told(400, {"message": "no"}) if method == "PUT" else None
    assert isinstance(connect().push(on)[0], Permanent)


def test_their_own_package_makes_the_same_requests(sink: HubSpotSink, connect: Connect) -> None:
    import hubspot

    sink.lists = {"41": ContactList(set(range(1, 301)))}
    told = parts(pages(connect()))
    ours, sink.asked = sink.asked, []
    client = hubspot.Client.create(access_token=TOKEN, host=sink.url)
    found = client.crm.lists.lists_api.get_by_id(list_id="41")
    assert (found.list.processing_status, found.list.size) == ("COMPLETE", 300)
    page = client.crm.lists.memberships_api.get_page(list_id="41", limit=250)
    assert [int(one.record_id) for one in page.results] == list(told[0].members)
    after = page.paging.next.after
    page = client.crm.lists.memberships_api.get_page(list_id="41", limit=250, after=after)
    assert [int(one.record_id) for one in page.results] == list(told[1].members)

    def sorted_query(asked: tuple[str, str, Any]) -> tuple[str, str, set[str]]:
        where, _, query = asked[1].partition("?")
        return asked[0], where, set(query.split("&"))

    assert [sorted_query(one) for one in sink.asked] == [sorted_query(one) for one in ours if "/lists/" in one[1]]
    sink.add(400)
    sink.asked = []
    connect().push([CrmMembership(CrmRecord("400"), "vip", True)])
    connect().push([CrmMembership(CrmRecord("400"), "vip", False)])
    ours, sink.asked = sink.asked, []
    assert client.crm.lists.memberships_api.add(list_id="41", request_body=["400"]).records_ids_added == ["400"]
    assert client.crm.lists.memberships_api.remove(list_id="41", request_body=["400"]).record_ids_removed == ["400"]
    assert sink.asked == ours
