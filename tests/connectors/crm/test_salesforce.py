"""Salesforce: what changed, was merged or deleted is read in order, and what is written arrives or says why."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_elliptic
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from connectors.calling import make_client
from connectors.crm.salesforce import Salesforce
from connectors.crm.salesforce_assertion import audience_of
from connectors.crm.salesforce_settings import SalesforceSettings
from connectors.crm.salesforce_soql import quoted
from evergreet.contracts import (
    Accepted,
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
from tests.connectors.crm.salesforce_sink import START, SalesforceSink, error, name_of
from tests.connectors.email.sendgrid_wire import SILENT, WireServer
from tests.connectors.provider_sink import Told

APP, SECRET = "3MVG9canary", "canary-consumer-secret"
ADA = CrmRecord(name_of(1), "ada@customer.example")


@pytest.fixture(scope="module")
def running() -> Iterator[SalesforceSink]:
    with SalesforceSink(APP, SECRET) as sink:
        yield sink


@pytest.fixture
def sink(running: SalesforceSink) -> Iterator[SalesforceSink]:
    """A local Salesforce; a request that breaks one of its rules fails the test."""
    running.forget()
    yield running
    assert running.faults == []


@pytest.fixture
def at() -> Iterator[Callable[..., Salesforce]]:
    with ExitStack() as made:

        def make(url: str, **options: Any) -> Salesforce:
            settings = SalesforceSettings.model_validate(
                {"base_url": url, "client_id": APP, "client_secret": SECRET, "timeout": 20, **options}
            )
            connector = Salesforce(settings, make_client(settings.connections))
            made.callback(connector.close)
            return connector

        yield make


class TestSalesforce(CrmConnectorContract):
    entry_point = "salesforce"
    required_settings = ("EVERGREET_SALESFORCE_BASE_URL", "EVERGREET_SALESFORCE_CLIENT_ID")
    secrets = (SECRET, "00D!token")

    @pytest.fixture
    def connect(
        self, sink: SalesforceSink, at: Callable[..., Salesforce], monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[], Salesforce]:
        monkeypatch.setattr("connectors.crm.salesforce_changes.PAGE", 3)
        return lambda: at(sink.url, topic_fields={"news": "News__c"})

    @pytest.fixture
    def put(self, sink: SalesforceSink) -> Callable[[str, str], str]:
        def put(address: str, name: str) -> str:
            known = (number for number, one in sink.contacts.items() if one["Email"] == address)
            number = next(known, name_of(len(sink.contacts) + 1))
            if number in sink.contacts:
                sink.change(int(number[3:]), FirstName=name)
            else:
                sink.add(int(number[3:]), address, FirstName=name)
            return number

        return put

    @pytest.fixture
    def at(self, at: Callable[..., Salesforce]) -> Callable[..., Salesforce]:
        return lambda url, **options: at(url, **{"timeout": 0.3, **options})

    @pytest.fixture
    def arrived(self, sink: SalesforceSink) -> Callable[[], list[Push]]:
        return sink.arrived

    @pytest.fixture
    def silent(self, sink: SalesforceSink, at: Callable[..., Salesforce]) -> Iterator[Salesforce]:
        """It is let in, and then nobody answers."""
        with WireServer(SILENT) as server:
            sink.door = Told(200, {"access_token": "x", "instance_url": server.url})
            yield at(sink.url, timeout=0.1, topic_fields={"news": "News__c"})


def pull(connector: CrmSource, cursor: str = "") -> tuple[list[CrmContact], str, list[CrmPage]]:
    """Pull until nothing is left; the cursor is stored as text each time."""
    pages: list[CrmPage] = []
    while not pages or pages[-1].more:
        pages.append(connector.changed_since(pages[-1].cursor if pages else cursor))
        assert len(pages) < 100
        assert len(pages[-1].cursor) <= 1000
    return [contact for page in pages for contact in page.contacts], pages[-1].cursor, pages


def numbers(contacts: list[CrmContact]) -> list[int]:
    return [int(contact.id[3:]) for contact in contacts]


def test_a_contact_is_read_with_what_salesforce_knows(sink: SalesforceSink, at: Callable[..., Salesforce]) -> None:
    then = START - timedelta(days=1)
    sink.add(1, "Ada@customer.example", then, FirstName="Ada", Phone="+49 30 901820", HasOptedOutOfEmail=True,
             **{"Account.Name": "Acme"})  # fmt: skip
    sink.add(2, None, then)
    connector = at(sink.url, fields={"FirstName": "first_name", "Phone": "phone", "Account.Name": "company"})
    (ada, other), _, _ = pull(connector)
    assert ada == CrmContact(
        id=name_of(1), changed_at=then, email="Ada@customer.example", unsubscribed=True,
        details={"first_name": "Ada", "phone": "+49 30 901820", "company": "Acme"},
    )  # fmt: skip
    assert (other.email, other.unsubscribed, set(other.details.values())) == ("", False, {None})


def test_pages_go_on_behind_each_other_whatever_their_size_and_whatever_changes_meanwhile(
    sink: SalesforceSink, at: Callable[..., Salesforce]
) -> None:
    """3,100 contacts, 1,500 of one second; Salesforce gives fewer at once than it was asked for."""
    then = START - timedelta(days=30)
    for number in range(1, 3_101):
        sink.add(number, at=then + timedelta(seconds=min(number, 1_600)))
    sink.batch = 1_400
    connector = at(sink.url)
    page = connector.changed_since("")
    sink.change(1, FirstName="later")
    contacts, cursor, pages = pull(connector, page.cursor)
    told = [*page.contacts, *contacts]
    assert len(pages) == 2
    assert numbers(told) == [*range(1, 3_101), 1], "each once, and again what changed"
    assert told[-1].details["first_name"] == "later"
    assert numbers(pull(connector, cursor)[0]) == [1], "what changed lately is told again, and no more"
    sink.add(5_000, at=START - timedelta(seconds=200))
    assert numbers(pull(connector, cursor)[0]) == [5_000, 1], "what became visible late is told as well"


def test_everything_is_read_by_a_job_where_it_is_much(
    sink: SalesforceSink, at: Callable[..., Salesforce], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.crm.salesforce_bulk.PAGE", 3)
    then = START - timedelta(days=1)
    for number in range(1, 8):
        sink.add(number, f"c{number}@customer.example", then, FirstName='Zoë "O\'B"\n, 😀', Orders__c=number + 0.5,
                 **{"Account.Name": "Acme" if number % 2 else None})  # fmt: skip
    sink.contacts[name_of(5)] |= {"IsDeleted": True, "MasterRecordId": name_of(1)}
    sink.contacts[name_of(6)]["HasOptedOutOfEmail"] = True
    sink.states = ["UploadComplete", "InProgress"]
    fields = {"FirstName": "first_name", "Orders__c": "orders", "Account.Name": "company", "Phone": "phone"}
    connector = at(sink.url, bulk=True, fields=fields)
    first = connector.changed_since("")
    assert (first.contacts, first.more) == ((), True)
    for _ in range(2):
        with pytest.raises(Retryable, match="still reading everything") as waiting:
            connector.changed_since(first.cursor)
        assert waiting.value.retry_after == timedelta(seconds=20)
    contacts, cursor, pages = pull(at(sink.url, bulk=True, fields=fields), first.cursor)
    assert [len(page.contacts) for page in pages] == [3, 3, 1]
    plain_way, _, _ = pull(at(sink.url, fields=fields))
    by_id = {one.id: one for one in contacts}
    assert by_id == {one.id: one for one in plain_way}, "it says the same as the other way"
    assert by_id[name_of(1)].merged == (name_of(5),)
    assert len(sink.jobs) == 1
    sink.change(3, FirstName="later")
    assert numbers(pull(connector, cursor)[0]) == [3], "then it goes on as it does without"
    assert len(sink.jobs) == 1
    sink.judge = lambda method, path, body: Told(200, b'"Id"\n"x"', {"Sforce-NumberOfRecords": "2"})
    with pytest.raises(Retryable, match="cut off"):
        connector.changed_since(pages[0].cursor)
    sink.judge = lambda method, path, body: error(404, "NOT_FOUND")
    with pytest.raises(DataError, match="begin anew"):
        connector.changed_since(first.cursor)
    sink.judge = lambda method, path, body: Told(200, {"state": "Failed"})
    with pytest.raises(DataError, match="Failed"):
        connector.changed_since(first.cursor)


def test_the_merged_are_told_of_whom_they_are_in_and_the_deleted_as_such(
    sink: SalesforceSink, at: Callable[..., Salesforce]
) -> None:
    old = START - timedelta(days=9)
    for number in range(1, 8):
        sink.add(number, f"c{number}@customer.example", old)
    connector = at(sink.url)
    _, cursor, _ = pull(connector)
    gone = {"IsDeleted": True, "SystemModstamp": START}
    for number, into in ((2, 1), (3, 2), (5, 6), (6, 99)):  # 3 into 2 into 1; 5 into 6 into one that is purged
        sink.contacts[name_of(number)] |= {**gone, "MasterRecordId": name_of(into)}
    sink.contacts[name_of(7)] |= gone
    told = {int(one.id[3:]): one for one in pull(connector, cursor)[0]}
    assert set(told) == {1, 6, 7}
    assert (told[1].email, set(told[1].merged), told[1].changed_at) == (
        "c1@customer.example", {name_of(2), name_of(3)}, old,
    )  # fmt: skip
    assert told[7] == CrmContact(name_of(7), START, deleted=True)
    assert told[6].deleted
    for number in range(10, 620):  # more than one query can name
        sink.add(number, at=old)
        sink.add(number + 1000, at=START, IsDeleted=True, MasterRecordId=name_of(number))
    contacts, _, _ = pull(connector, cursor)
    assert len([one for one in contacts if one.merged]) == 611


@pytest.mark.parametrize(
    "cursor", ["x", "[]", '{"since": 5}', '{"since": "soon"}', '{"id": "\' OR Id != \'"}', '{"id": "003000000000001"}',
               '{"since": "2026-03-10T12:00:00Z", "id": "\' OR 1"}', '{"to": ""}', '{"job": "../x"}',
               '{"job": "750000000000000"}', '{"locator": 5}'],
)  # fmt: skip
def test_a_cursor_that_is_none_says_how_to_begin_anew(at: Callable[..., Salesforce], cursor: str) -> None:
    with pytest.raises(DataError, match="begin anew"):
        at("http://127.0.0.1:1").changed_since(cursor)


def test_what_cannot_be_read_is_left_out_and_named(sink: SalesforceSink, at: Callable[..., Salesforce]) -> None:
    whole = {"Id": name_of(1), "SystemModstamp": "2026-03-01T00:00:00.000+0000"}
    odd: list[Any] = [None, 7, [], {}, {"Id": 5}, {"Id": "x"}, {**whole, "Id": name_of(4), "SystemModstamp": "soon"}]
    values: list[Any] = [None, 7, [], {}, True, "x" * 3000]
    odd += [{**whole, "Id": name_of(10 + place), "Email": one, "IsDeleted": 5 if one is True else None, "Phone": one,
             "HasOptedOutOfEmail": "yes", "MasterRecordId": one} for place, one in enumerate(values)]  # fmt: skip
    sink.judge = lambda method, path, body: Told(200, {"records": [*odd, whole]})
    page = at(sink.url).changed_since("")
    assert len(page.contacts) == 7
    assert not any(contact.unsubscribed or contact.deleted for contact in page.contacts)
    assert dict(page.unreadable)[name_of(4)] == "It cannot be read when the contact changed."
    assert len(page.unreadable) == 7
    assert not page.more


REFUSALS: list[tuple[Told, type[Exception], str | None, int | None]] = [
    (error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), Retryable, "no", 900),
    (error(503, "SERVER_UNAVAILABLE"), Retryable, "no", None),
    (Told(429, b"", {"Retry-After": "7"}), Retryable, "no", 7),
    (error(400, "INVALID_FIELD", "No such column 'Nope__c'"), Misconfigured, None, None),
    (error(400, "MALFORMED_QUERY"), Misconfigured, None, None),
    (error(403, "API_DISABLED_FOR_ORG"), Misconfigured, None, None),
    (error(403, "SOMETHING_NEW"), Misconfigured, None, None),
    (error(404, "NOT_FOUND"), Misconfigured, None, None),
    (Told(302, b"", {"Location": "http://127.0.0.1:1/"}), Misconfigured, None, None),
    (error(500, "UNKNOWN_EXCEPTION"), Retryable, "maybe", None),
    (Told(502, b"<html>"), Retryable, "maybe", None),
    (Told(200, b'[{"success": tr'), Retryable, "maybe", None),
    (Told(200, {"hello": "there"}), Retryable, "maybe", None),
    (Told(200, []), Retryable, "maybe", None),
    (Told(200, [{"id": "x"}, 5]), Retryable, "maybe", None),
]


@pytest.mark.parametrize(
    ("told", "kind", "accepted", "seconds"), REFUSALS, ids=[str(number) for number in range(len(REFUSALS))]
)
def test_each_answer_to_a_question_and_to_a_change_has_its_error(
    sink: SalesforceSink, at: Callable[..., Salesforce], told: Told, kind: type[Exception], accepted: str | None,
    seconds: int | None,
) -> None:  # fmt: skip
    sink.judge = lambda method, path, body: told
    connector = at(sink.url)
    with pytest.raises(kind) as refused:
        connector.changed_since("")
    outcomes = connector.push([CrmTask(ADA, "a", "t", "x", START), CrmTask(ADA, "b", "t", "x", START)])
    assert [type(outcome) for outcome in outcomes] == [kind, kind]
    for fault in (refused.value, *outcomes):
        assert SECRET not in repr(fault) + repr(fault.__dict__)
        assert "00D!" not in repr(fault)
        if isinstance(fault, Retryable):
            assert fault.accepted == ("no" if fault is refused.value else accepted)
            assert fault.retry_after == (None if seconds is None else timedelta(seconds=seconds))


def test_a_token_that_has_ended_is_replaced_once(sink: SalesforceSink, at: Callable[..., Salesforce]) -> None:
    sink.add(1)
    connector = at(sink.url)
    pull(connector)
    sink.tokens = set()
    assert connector.push([CrmStage(ADA, "loyalty", START)]) == [Accepted(name_of(1))]
    assert sink.signed_in == 2
    sink.judge = lambda method, path, body: error(401, "INVALID_SESSION_ID", "Session expired or invalid")
    with pytest.raises(Misconfigured, match="INVALID_SESSION_ID"):
        pull(connector)
    assert sink.signed_in == 3


def test_an_app_that_is_not_let_in_is_our_fault_and_a_door_that_is_shut_is_not(
    sink: SalesforceSink, at: Callable[..., Salesforce]
) -> None:
    wrong = at(sink.url, client_secret="another")
    with pytest.raises(Misconfigured, match="invalid_client invalid client credentials"):
        wrong.check()
    (outcome,) = wrong.push([CrmStage(ADA, "loyalty", START)])
    assert isinstance(outcome, Misconfigured)
    assert "another" not in outcome.reason
    for answer, kind in (
        (Told(503, b""), Retryable), (Told(200, b"<"), Misconfigured),
        (Told(200, {"access_token": "x"}), Misconfigured),
        (Told(200, {"access_token": "x y", "instance_url": sink.url}), Misconfigured),
        (Told(200, {"access_token": "x", "instance_url": "http://elsewhere.example"}), Misconfigured),
    ):  # fmt: skip
        sink.door = answer
        (outcome,) = at(sink.url).push([CrmNote(ADA, "k", "t", "x", START)])
        assert type(outcome) is kind, answer
        assert getattr(outcome, "accepted", "no") == "no"
    with WireServer(SILENT) as server:
        (outcome,) = at(server.url, timeout=0.1).push([CrmNote(ADA, "k", "t", "x", START)])
    assert isinstance(outcome, Retryable)
    assert outcome.accepted == "no", "nothing was written before somebody is signed in"


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


def pem(key: RSAPrivateKey | EllipticCurvePrivateKey, passphrase: str = "") -> str:
    hidden = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden).decode()


def signing(sink: SalesforceSink, key: str, **options: Any) -> Salesforce:
    settings = SalesforceSettings.model_validate(
        {"base_url": sink.url, "client_id": APP, "private_key": key, "username": sink.user, **options}
    )
    return Salesforce(settings, make_client(1), now=lambda: sink.now or START)


def test_an_app_signs_in_with_a_private_key_as_their_package_does(
    sink: SalesforceSink, key: RSAPrivateKey, tmp_path: Path
) -> None:
    """From the setting, in one line or several, or from its file; a new JWT each time, which the certificate judges."""
    sink.certificate = key.public_key()
    (file := tmp_path / "salesforce.pem").write_text(pem(key))
    for written in (pem(key), pem(key).strip().replace("\n", "\\n"), str(file)):
        with closing(signing(sink, written)) as connector:
            assert "lets the app in" in connector.check()
            assert pem(key)[40:80] not in repr(connector) + repr(vars(connector))
    sink.tokens = set()
    assert sink.now is not None
    sink.now += timedelta(hours=3)
    with closing(signing(sink, pem(key))) as connector:
        connector.check()
        sink.tokens = set()
        sink.now += timedelta(hours=3)
        connector.changed_since("")
    assert sink.signed_in == 5, "a JWT of three hours ago would not be taken"

    import requests
    from simple_salesforce.login import SalesforceLogin

    class ToSink(requests.adapters.HTTPAdapter):
        def send(self, request: Any, *arguments: Any, **options: Any) -> Any:
            assert request.url == "https://login.salesforce.com/services/oauth2/token"
            request.url = f"{sink.url}{urlsplit(request.url).path}"
            return super().send(request, *arguments, **options)

    sink.now = datetime.now(UTC) + timedelta(seconds=1)  # their three minutes are rounded up
    with requests.Session() as session:
        session.mount("https://", ToSink())
        session_id, _ = SalesforceLogin(username=sink.user, consumer_key=APP, privatekey=pem(key), session=session)
    assert {session_id} == sink.tokens, "it is let in by the same rules"


def test_a_jwt_that_is_not_taken_says_what_to_look_at(sink: SalesforceSink, key: RSAPrivateKey) -> None:
    sink.certificate = key.public_key()
    another = generate_private_key(65537, 2048)
    assert (
        audience_of(settings_of(base_url="https://acme--uat.sandbox.my.salesforce.com"))
        == "https://test.salesforce.com"
    )
    refused = {
        "invalid assertion": signing(sink, pem(another)),
        "hasn't approved this consumer": signing(sink, pem(key), username="nobody@acme.example"),
        "client identifier invalid": signing(sink, pem(key), client_id="another"),
        "audience is invalid": signing(sink, pem(key), audience="https://test.salesforce.com"),
    }
    for reason, connector in refused.items():
        with closing(connector), pytest.raises(Misconfigured, match=reason) as told:
            connector.check()
        assert "…_PRIVATE_KEY and is pre-authorized" in told.value.reason
        assert "BEGIN" not in told.value.reason
    for useless in (
        "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----", pem(key, "a passphrase"), pem(key)[:200],
        pem(generate_elliptic(SECP256R1())), "/no/such/canary.pem", "canary\0",
    ):  # fmt: skip
        with closing(signing(sink, useless)) as connector:
            (outcome,) = connector.push([CrmStage(ADA, "loyalty", START)])
            assert isinstance(outcome, Misconfigured)
            assert "EVERGREET_SALESFORCE_PRIVATE_KEY" in outcome.reason
            assert "canary" not in repr(outcome) + repr(outcome.__context__)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, "set CLIENT_SECRET, or PRIVATE_KEY and USERNAME"),
        ({"client_secret": SECRET, "username": "robot"}, "set PRIVATE_KEY and USERNAME, or neither"),
        ({"private_key": SECRET}, "set PRIVATE_KEY and USERNAME, or neither"),
        ({"private_key": SECRET, "username": "x", "audience": "http://login.salesforce.com"}, "pattern"),
    ],
)
def test_half_of_what_signs_in_is_told(given: dict[str, str], wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted) as told:
        settings_of(**{"client_secret": "", **given})
    assert SECRET not in str(told.value)


def settings_of(**given: str) -> SalesforceSettings:
    return SalesforceSettings.model_validate(
        {"base_url": "https://acme.my.salesforce.com", "client_id": APP, "client_secret": SECRET, **given}
    )


def test_everything_that_is_written_arrives(sink: SalesforceSink, at: Callable[..., Salesforce]) -> None:
    sink.add(1, "ada@customer.example")
    sink.add(2, "O'Bob\"s@customer.example")
    sink.add(3, "o'bob\"s@customer.example")
    bob = CrmRecord("", " O'BOB\"S@customer.example")
    noon = datetime(2026, 3, 10, 12, tzinfo=UTC)
    connector = at(sink.url, topic_fields={"news": "News__c"}, key_field="Key__c", task_owner="005000000000001")
    assert isinstance(connector, CrmSink)
    batch: list[Push] = [
        CrmStage(ADA, "education", noon), CrmStage(bob, "loyalty", noon), CrmStage(ADA, "retention", noon),
        CrmLastMessage(ADA, "thank-you/receipt", noon), CrmNote(bob, "n1", "Sent", "Dear\n\nBye 😀", noon),
        CrmTask(ADA, "t1", "Call Ada", "About her order", noon + timedelta(days=1)),
        CrmConsent(ADA, True, noon, "news"), CrmConsent(ADA, False, noon), CrmConsent(bob, False, noon),
        CrmConsent(bob, True, noon), CrmStage(CrmRecord(name_of(9)), "x", noon),
        CrmNote(CrmRecord(name_of(9)), "n3", "t", "x", noon), CrmNote(ADA, "n4", "t" * 256, "x", noon),
        CrmNote(CrmRecord("", "no@customer.example"), "n2", "", "", noon), CrmConsent(ADA, True, noon, "offers"),
        CrmStage(CrmRecord("12"), "x", noon), CrmStage(CrmRecord("", "x"), "x", noon),
    ]  # fmt: skip
    outcomes = connector.push(batch)
    one, two, task = name_of(1), name_of(2), "00T00000000000000"
    wanted = [one, two, one, one, f"{task}0", f"{task}1", one, one, two, two]
    assert outcomes[:10] == [Accepted(name) for name in wanted]
    assert [type(outcome) for outcome in outcomes[10:]] == [Permanent] * 7
    ada, bobs = sink.contacts[one], sink.contacts[two]
    assert (ada["Evergreet_Stage__c"], bobs["Evergreet_Stage__c"]) == ("retention", "loyalty"), (
        "the older of two is meant"
    )
    assert ada["Evergreet_Last_Message__c"] == "thank-you/receipt"
    assert ada["Evergreet_Last_Message_At__c"] == "2026-03-10T12:00:00.000Z"
    assert (ada["News__c"], ada["HasOptedOutOfEmail"], bobs["HasOptedOutOfEmail"]) == (True, True, False)
    assert sink.tasks == [
        {"WhoId": two, "Status": "Completed", "Subject": "Sent", "Description": "Dear\n\nBye 😀", "Key__c": "n1",
         "OwnerId": "005000000000001", "ActivityDate": "2026-03-10"},
        {"WhoId": one, "Status": "Not Started", "Subject": "Call Ada", "Description": "About her order", "Key__c": "t1",
         "OwnerId": "005000000000001", "ActivityDate": "2026-03-11"},
    ]  # fmt: skip
    assert connector.push(batch)[:10] == outcomes[:10]
    assert len(sink.tasks) == 2, "with a key each is made once"


def test_one_bad_record_of_many_hurts_no_other(sink: SalesforceSink, at: Callable[..., Salesforce]) -> None:
    for number in range(1, 451):
        sink.add(number, f"c{number}@customer.example")
    sink.refusals = {"bad": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "busy": "UNABLE_TO_LOCK_ROW", "ours": "INVALID_FIELD"}
    stages = {7: "bad", 8: "busy", 9: "ours", 10: "a lone \ud800"}
    outcomes = at(sink.url).push([
        CrmStage(CrmRecord("", f"C{number}@customer.example"), stages.get(number, "loyalty"), START)
        for number in range(1, 451)
    ])  # fmt: skip
    refused = {place + 1: one for place, one in enumerate(outcomes) if one != Accepted(name_of(place + 1))}
    assert {number: type(one) for number, one in refused.items()} == {
        7: Permanent, 8: Retryable, 9: Misconfigured, 10: Permanent,
    }  # fmt: skip
    assert "ada@" not in repr(refused)


def test_a_check_names_what_is_missing_or_locked(sink: SalesforceSink, at: Callable[..., Salesforce]) -> None:
    assert "all 9 fields of a Contact" in at(sink.url).check()
    with pytest.raises(Misconfigured, match="shows no Nope__c of"):
        at(sink.url, fields={"Nope__c": "nope"}).check()
    sink.locked = {"HasOptedOutOfEmail"}
    with pytest.raises(Misconfigured, match="change HasOptedOutOfEmail:"):
        at(sink.url).check()
    assert at(sink.url).push([]) == []


@pytest.mark.parametrize("name", ["Email FROM User", "a'b", "x,y", "", "A." * 9 + "B", "9a"])
def test_a_field_that_would_change_the_question_is_no_setting(name: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        SalesforceSettings.model_validate(
            {"base_url": "https://a.example", "client_id": "x", "client_secret": "y", "fields": {name: "x"}}
        )


def test_their_package_asks_and_writes_the_same_and_is_served_as_well(
    sink: SalesforceSink, at: Callable[..., Salesforce]
) -> None:
    """simple-salesforce, which others made, signs in to the same server: its requests and answers are ours."""
    import requests
    from requests.adapters import HTTPAdapter
    from simple_salesforce.api import Salesforce as Theirs
    from simple_salesforce.format import format_soql

    class ToSink(HTTPAdapter):
        def send(self, request: Any, *arguments: Any, **options: Any) -> Any:
            where = urlsplit(request.url)
            request.url = f"{sink.url}{where.path}{'?' + where.query if where.query else ''}"
            return super().send(request, *arguments, **options)

    then = START - timedelta(days=1)
    for number in range(1, 6):
        sink.add(number, f"c{number}@customer.example", then)
    connector = at(sink.url, key_field="Key__c")
    ours, _, _ = pull(connector)
    connector.push([
        CrmStage(CrmRecord("", "c1@customer.example"), "loyalty", START), CrmTask(ADA, "t1", "Call", "x", START),
    ])  # fmt: skip
    asked, sink.asked = sink.asked, []
    written = [body for _, _, body in asked if body]

    with requests.Session() as session:
        session.mount("https://", ToSink())
        client = Theirs(consumer_key=APP, consumer_secret=SECRET, domain="acme.my", version="62.0", session=session)
        client.sf_instance = "acme.my.salesforce.com"
        client.base_url = "https://acme.my.salesforce.com/services/data/v62.0/"
        assert sink.signed_in == 2
        sink.batch = 2
        question = parse_qs(urlsplit(asked[0][1]).query)["q"][0]
        theirs = client.query_all(question, include_deleted=True)
        assert sorted(one["Id"] for one in theirs["records"]) == [one.id for one in ours]
        found = client.query(format_soql(
            "SELECT Id, Email FROM Contact WHERE Email IN {emails} ORDER BY CreatedDate DESC, Id DESC",
            emails=["c1@customer.example"],
        ))  # fmt: skip
        assert found["totalSize"] == 1
        client.restful("composite/sobjects", method="PATCH", json=written[0])
        client.restful("composite/sobjects/Task/Key__c", method="PATCH", json=written[1])
        jobs: Any = client.bulk2
        text = "".join(jobs.Contact.query_all("SELECT Id, Email FROM Contact", max_records=2, wait=0))
        assert text.count("@customer.example") == 5, "and it reads jobs"
    theirs_asked = [one for one in sink.asked if "jobs" not in one[1]]
    pages = [one for one in theirs_asked if "?" not in one[1] and one[0] == "GET"]
    assert len(pages) == 2, "it follows the locators"
    assert [plain(one) for one in theirs_asked if one not in pages] == [plain(one) for one in asked]
    read = next(body for _, path, body in sink.asked if path.endswith("/jobs/query"))
    sink.asked = []
    at(sink.url, bulk=True).changed_since("")
    ((_, path, body),) = sink.asked
    assert (path, body | {"query": ""}) == ("/services/data/v62.0/jobs/query", read | {"query": ""})
    assert len(sink.tasks) == 1
    for text in ("O'Reilly", 'a"b\\c', "\n\r\t\b\f", "x' OR Name != '"):
        assert quoted(text) == format_soql("{}", text)


def plain(asked: tuple[str, str, Any]) -> tuple[str, str, dict[str, list[str]], Any]:
    method, path, body = asked
    where = urlsplit(path)
    return method, where.path, parse_qs(where.query), body
