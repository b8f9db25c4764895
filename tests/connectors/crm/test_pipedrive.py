"""Pipedrive: persons that changed are read in order, what is written arrives, and its webhooks have them read anew."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors.authorization import basic
from connectors.calling import make_client
from connectors.crm.pipedrive import Pipedrive
from connectors.crm.pipedrive_settings import PipedriveSettings
from evergreet.contracts import (
    Accepted,
    CrmConsent,
    CrmContact,
    CrmLastMessage,
    CrmListener,
    CrmNote,
    CrmPage,
    CrmRecord,
    CrmSource,
    CrmStage,
    CrmTask,
    Push,
    WebhookRequest,
)
from evergreet.errors import DataError, Misconfigured, Permanent, Retryable
from evergreet.testing import CrmConnectorContract
from evergreet.testing.signatures import ODD, SignatureContract, request
from tests.connectors.crm.pipedrive_sink import LAST, LAST_AT, NEWS, STAGE, START, PipedriveSink, refused
from tests.connectors.email.sendgrid_wire import SILENT, WireServer
from tests.connectors.provider_sink import Told

TOKEN, PASSWORD = "canary0api0token", "canary-webhook-password"
CLIENT = "pipedrive@33.7.0"
ADA = CrmRecord("1", "ada@customer.example")
OURS: dict[str, Any] = {
    "stage_field": STAGE, "last_message_field": LAST, "last_message_at_field": LAST_AT, "topic_fields": {"news": NEWS},
    "marketing": True, "webhook_user": "evergreet", "webhook_password": PASSWORD,
}  # fmt: skip


@pytest.fixture(scope="module")
def running() -> Iterator[PipedriveSink]:
    with PipedriveSink(TOKEN) as sink:
        yield sink


@pytest.fixture
def sink(running: PipedriveSink) -> Iterator[PipedriveSink]:
    """A local Pipedrive; a request that breaks one of its rules fails the test."""
    running.forget()
    yield running
    assert running.faults == []


@pytest.fixture
def at() -> Iterator[Callable[..., Pipedrive]]:
    with ExitStack() as made:

        def make(url: str, **options: Any) -> Pipedrive:
            settings = {"token": TOKEN, "base_url": url, "timeout": 20, **OURS, **options}
            connector = Pipedrive(PipedriveSettings.model_validate(settings), make_client(2))
            made.callback(connector.close)
            return connector

        yield make


class TestPipedrive(CrmConnectorContract):
    entry_point = "pipedrive"
    required_settings = ("EVERGREET_PIPEDRIVE_TOKEN",)
    secrets = (TOKEN, PASSWORD)

    @pytest.fixture
    def connect(
        self, sink: PipedriveSink, at: Callable[..., Pipedrive], monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[], Pipedrive]:
        monkeypatch.setattr("connectors.crm.pipedrive_changes.PAGE", 3)
        return lambda: at(sink.url)

    @pytest.fixture
    def put(self, sink: PipedriveSink) -> Callable[[str, str], str]:
        def put(address: str, name: str) -> str:
            known = (number for number, one in sink.persons.items() if one["emails"][0]["value"] == address)
            number = next(known, len(sink.persons) + 1)
            if number in sink.persons:
                sink.change(number, first_name=name)
            else:
                sink.add(number, address, first_name=name)
            return str(number)

        return put

    @pytest.fixture
    def at(self, at: Callable[..., Pipedrive]) -> Callable[..., Pipedrive]:
        return lambda url, **options: at(url, **{"timeout": 0.3, **options})

    @pytest.fixture
    def arrived(self, sink: PipedriveSink) -> Callable[[], list[Push]]:
        return sink.arrived

    @pytest.fixture
    def silent(self, at: Callable[..., Pipedrive]) -> Iterator[Pipedrive]:
        with WireServer(SILENT) as server:
            yield at(server.url, timeout=0.1)


class TestPipedriveWebhooks(SignatureContract):
    secrets = (TOKEN, PASSWORD)
    words: ClassVar[dict[str, str]] = {"change": "read", "delete": "read"}
    signs_the_body = False  # it shows a password

    @pytest.fixture
    def source(self, sink: PipedriveSink, at: Callable[..., Pipedrive]) -> Pipedrive:
        return at(sink.url)

    @pytest.fixture
    def sign(self) -> Callable[[bytes], dict[str, str]]:
        return lambda body: {"Authorization": basic("evergreet", PASSWORD)}

    @pytest.fixture
    def told(self) -> Callable[[str], bytes]:
        return lambda word: told(action=word)

    def read(self, source: Any, posted: WebhookRequest) -> list[Any]:
        found: list[Any] = source.read_changes(posted)
        return found


def told(**meta: Any) -> bytes:
    """A webhook of version 2 as Pipedrive's guide shows it."""
    return json.dumps({
        "meta": {"action": "change", "entity": "person", "entity_id": "7", "company_id": "1", "version": "2.0",
                 "timestamp": "2026-03-10T12:00:00.000Z", **meta},
        "data": {"id": 7, "name": "Ada"}, "previous": {},
    }).encode()  # fmt: skip


def pull(connector: CrmSource, cursor: str = "") -> tuple[list[CrmContact], str, list[CrmPage]]:
    """Pull until nothing is left; the cursor is stored as text each time."""
    pages: list[CrmPage] = []
    while not pages or pages[-1].more:
        pages.append(connector.changed_since(pages[-1].cursor if pages else cursor))
        assert len(pages) < 20
    return [contact for page in pages for contact in page.contacts], pages[-1].cursor, pages


def test_a_person_is_read_with_what_pipedrive_knows(sink: PipedriveSink, at: Callable[..., Pipedrive]) -> None:
    then = START - timedelta(days=1)
    phones = [{"value": "030 1", "primary": False}, {"value": "+49 30 9", "primary": True}]
    own = {"e" * 40: "Europe/Berlin", "f" * 40: {"value": 12.5, "currency": "EUR"}, "9" * 40: [1]}
    sink.add(7, "Ada@customer.example", then, first_name="Ada", phones=phones, custom_fields=own,
             marketing_status="unsubscribed")  # fmt: skip
    sink.persons[7]["emails"].insert(0, {"value": "old@customer.example", "primary": False})
    sink.add(8, at=then)
    names = {"first_name": "first_name", "phone": "phone", "e" * 40: "timezone", "f" * 40: "spent", "9" * 40: "list"}
    (ada, other), cursor, _ = pull(at(sink.url, fields=names))
    assert ada == CrmContact(
        id="7", changed_at=then, email="Ada@customer.example", unsubscribed=True,
        details={"first_name": "Ada", "phone": "+49 30 9", "timezone": "Europe/Berlin", "spent": 12.5, "list": None},
    )  # fmt: skip
    assert (other.email, other.unsubscribed, set(other.details.values())) == ("", False, {None})
    assert json.loads(cursor) == {"since": "2026-03-10T11:59:00Z"}
    assert pull(at(sink.url), cursor)[0] == []
    assert pull(at(sink.url, marketing=False))[0][0].unsubscribed is False


@pytest.mark.parametrize("cursor", ["x", "[]", '{"since": 5}', '{"since": "soon"}', '{"next": 5}', '{"to": ""}'])
def test_a_cursor_that_is_none_says_how_to_begin_anew(at: Callable[..., Pipedrive], cursor: str) -> None:
    with pytest.raises(DataError, match="begin anew"):
        at("http://127.0.0.1:1").changed_since(cursor)


def test_a_cursor_that_pipedrive_does_not_take_any_more_says_so(
    sink: PipedriveSink, at: Callable[..., Pipedrive]
) -> None:
    sink.judge = lambda method, path, body: refused(400, "Invalid cursor")
    with pytest.raises(DataError, match="If it is about the cursor, begin anew"):
        at(sink.url).changed_since('{"next": "old"}')
    with pytest.raises(Permanent):
        at(sink.url).changed_since("")


def test_what_cannot_be_read_is_left_out_and_named(sink: PipedriveSink, at: Callable[..., Pipedrive]) -> None:
    whole = {"id": 3, "update_time": "2026-03-01 00:00:00"}
    odd: list[Any] = [None, 7, [], {}, {"id": "x"}, {"id": True}, {"id": 4, "update_time": "soon"}]
    values: list[Any] = [None, 7, [], {}, True, "x" * 3000, [None, 7, {"value": 5}]]
    odd += [{**whole, "emails": one, "phones": one, "custom_fields": one, "marketing_status": one} for one in values]
    sink.judge = lambda method, path, body: Told(200, {"success": True, "data": [*odd, whole], "additional_data": 5})
    page = at(sink.url).changed_since("")
    assert len(page.contacts) == 8
    assert {contact.changed_at for contact in page.contacts} == {datetime(2026, 3, 1, tzinfo=UTC)}
    assert dict(page.unreadable)["4"] == "It cannot be read when the person changed."
    assert not page.more


REFUSALS: list[tuple[Told, type[Exception], str]] = [
    (refused(402, "Company account is not open"), Misconfigured, ""),
    (Told(429, b"", {"x-ratelimit-reset": "2"}), Retryable, "no"),
    (Told(404, b"<html>"), Misconfigured, ""),
    (refused(404, "Person not found."), Permanent, ""),
    (refused(400, "no"), Permanent, ""),
    (refused(500, "oops"), Retryable, "maybe"),
    (Told(200, {"success": True, "data": {"id": None}}), Retryable, "maybe"),
    (Told(200, b"<html>"), Retryable, "maybe"),
]


@pytest.mark.parametrize(("answer", "kind", "accepted"), REFUSALS, ids=[str(n) for n in range(len(REFUSALS))])
def test_each_answer_to_a_change_has_its_outcome(
    sink: PipedriveSink, at: Callable[..., Pipedrive], answer: Told, kind: type[Exception], accepted: str
) -> None:
    sink.judge = lambda method, path, body: answer
    note, stage = at(sink.url).push([CrmNote(ADA, "k", "t", "x", START), CrmStage(ADA, "loyalty", START)])
    assert type(note) is type(stage) is kind
    for outcome in (note, stage):
        assert TOKEN not in repr(outcome)
        if isinstance(outcome, Retryable):
            assert outcome.accepted == (accepted if outcome is note else "no")
            assert outcome.retry_after == (timedelta(seconds=2) if answer.status == 429 else None)


def test_one_bad_record_hurts_no_other_and_nothing_is_begun_after_a_doubt(
    sink: PipedriveSink, at: Callable[..., Pipedrive]
) -> None:
    for number in range(1, 5):
        sink.add(number, f"c{min(number, 3)}@customer.example")
    connector = at(sink.url, topic_fields={}, marketing=False, last_message_field="", last_message_at_field="")
    batch: list[Push] = [
        CrmStage(CrmRecord("", f"C{number}@customer.example"), "bad" if number == 2 else "loyalty", START)
        for number in range(1, 5)
    ]  # fmt: skip
    outcomes = connector.push([
        *batch, CrmConsent(ADA, False, START), CrmConsent(ADA, True, START, "news"), CrmLastMessage(ADA, "x", START),
        CrmStage(CrmRecord("x"), "x", START), CrmNote(ADA, "k", "a lone \ud800", "", START),
        CrmStage(ADA, "new", START),
    ])  # fmt: skip
    assert outcomes[0] == outcomes[-1] == Accepted("1")
    assert outcomes[2] == Accepted("3"), "of two with an address the older one is meant"
    assert all(isinstance(one, Permanent) for one in (outcomes[1], *outcomes[3:-1])), outcomes
    assert "ada@" not in repr(outcomes)
    assert len([path for _, path, _ in sink.asked if "search" in path]) == 4
    sink.judge = lambda method, path, body: refused(500, "oops") if method == "POST" else None
    first, second = connector.push([CrmTask(ADA, "k", "t", "x", START), CrmStage(ADA, "newer", START)])
    assert isinstance(first, Retryable)
    assert isinstance(second, Retryable)
    assert "Not begun" in second.reason


def test_what_a_webhook_names_is_read_and_who_is_gone_is_deleted(
    sink: PipedriveSink, at: Callable[..., Pipedrive]
) -> None:
    connector: CrmListener = at(sink.url)
    assert isinstance(connector, CrmListener)
    sink.add(7, "ada@customer.example", START - timedelta(days=1))
    sink.add(8, at=START - timedelta(days=1), is_deleted=True)
    for body, number, deleted in (
        (told(action="delete"), "7", False), (told(entity_id="8"), "8", True), (told(entity_id="9"), "9", True),
        (json.dumps({"meta": {"object": "person", "action": "updated", "id": 7}}).encode(), "7", False),
    ):  # fmt: skip
        (contact,) = connector.read_changes(request(body, {}))
        assert (contact.id, contact.deleted) == (number, deleted)
    for body in (told(entity="deal"), told(entity_id=None), told(entity_id="x"), b"{}", b'{"meta": 5}'):
        assert connector.read_changes(request(body, {})) == []
    for word in ODD:
        assert connector.read_changes(request(told(entity=word), {})) == []
    with pytest.raises(Misconfigured, match="EVERGREET_PIPEDRIVE_WEBHOOK_USER"):
        at(sink.url, webhook_password="").verify(request(b"{}", {"Authorization": basic("evergreet", PASSWORD)}))


def test_a_check_names_a_field_that_is_not_there(sink: PipedriveSink, at: Callable[..., Pipedrive]) -> None:
    assert "have all fields" in at(sink.url).check()
    with pytest.raises(Misconfigured, match=f"have no {'9' * 40}:"):
        at(sink.url, stage_field="9" * 40).check()


THEIRS = """
const v1 = require('pipedrive/v1'), v2 = require('pipedrive/v2')
const [token, host, given] = process.argv.slice(2)
const [stage, note, task, fields] = JSON.parse(given)
const two = new v2.Configuration({ apiKey: token, basePath: host + '/api/v2' })
const one = new v1.Configuration({ apiKey: token, basePath: host + '/v1' })
const persons = new v2.PersonsApi(two)
async function main() {
  const seen = []
  let cursor
  do {
    const page = await persons.getPersons({ sort_by: 'update_time', sort_direction: 'asc', limit: 3, cursor,
      include_fields: 'marketing_status', custom_fields: fields })
    seen.push(...page.data.map((person) => person.id))
    cursor = page.additional_data.next_cursor
  } while (cursor)
  await persons.searchPersons({ term: 'c1@customer.example', fields: 'email', exact_match: true, limit: 100 })
  await persons.updatePerson({ id: 1, UpdatePersonRequest: stage })
  await new v1.NotesApi(one).addNote({ AddNoteRequest: note })
  await new v2.ActivitiesApi(two).addActivity({ AddActivityRequest: task })
  await new v2.PersonFieldsApi(two).getPersonFields({ limit: 500 })
  console.log(JSON.stringify(seen))
}
main().catch((error) => { console.error(error); process.exit(1) })
"""


@pytest.mark.skipif(os.environ.get("EVERGREET_CLIENTS") != "1", reason="fetches a client: `make clients`")
@pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="there is no node with npm here")
def test_their_own_client_makes_the_same_requests_and_is_served_as_well(
    sink: PipedriveSink, at: Callable[..., Pipedrive], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Pipedrive's own package for Node, unmodified."""
    monkeypatch.setattr("connectors.crm.pipedrive_changes.PAGE", 3)
    for number in range(1, 8):
        sink.add(number, f"c{number}@customer.example", START - timedelta(days=1))
    connector = at(sink.url, fields={"e" * 40: "size", "f" * 40: "shape"})
    read = [contact.id for contact in pull(connector)[0]]
    connector.push([
        CrmStage(CrmRecord("", "c1@customer.example"), "loyalty", START), CrmNote(ADA, "k", "t", "x", START),
        CrmTask(ADA, "k", "Call", "x", START),
    ])  # fmt: skip
    connector.check()
    ours, sink.asked = sink.asked, []
    sink.persons[1] |= {"update_time": sink.persons[2]["update_time"], "custom_fields": {}}
    bodies = [body for _, _, body in ours if body]
    install = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(tmp_path), CLIENT]
    subprocess.run(install, check=True, timeout=120, capture_output=True)
    (tmp_path / "main.js").write_text(THEIRS, "utf-8")
    given = json.dumps([*bodies, ",".join(digit * 40 for digit in "ef")])
    done = subprocess.run(
        ["node", "main.js", TOKEN, sink.url, given], cwd=tmp_path, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [str(number) for number in json.loads(done.stdout)] == read
    assert [plain(one) for one in sink.asked] == [plain(one) for one in ours]


def plain(asked: tuple[str, str, Any]) -> tuple[str, str, dict[str, list[str]], Any]:
    method, path, body = asked
    where = urlsplit(path)
    return method, where.path, parse_qs(where.query), body
