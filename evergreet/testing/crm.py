"""The rules of a CRM's connector, as tests.

class TestAcme(CrmConnectorContract):
    entry_point = "acme"
    required_settings = ("EVERGREET_ACME_TOKEN",)
    secrets = ("canary-token",)
    first_name = "firstname"        # the detail that `put` writes the name to

    @pytest.fixture
    def connect(self) -> Iterator[Callable[[], Acme]]: ...      # a new one each time, against a CRM of your own

    @pytest.fixture
    def put(self) -> Callable[[str, str], str]: ...  # (address, first name): a contact there, new or changed just now

    @pytest.fixture
    def at(self) -> Iterator[Callable[[str], Acme]]: ...      # one with the same secrets, for a server there

One that is written to as well has these; any other says `writes = False`:

    @pytest.fixture
    def arrived(self) -> Callable[[], list[Push]]: ...          # what that CRM took

    @pytest.fixture
    def silent(self) -> Iterator[Acme]: ...          # the same where nothing that is written is ever answered

Give `connect` pages of three contacts at most, and `at` and `silent` time limits of about a second. A CRM that is
reached otherwise than by HTTP says `by_http = False`, and has in place of `at` an `unreachable`.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

import pytest

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
    Outcome,
    Push,
)
from evergreet.errors import ConnectorError, EvergreetError, Misconfigured, Permanent, Retryable
from evergreet.testing.answering import ENDLESS, Answering, GoesOn, answer
from evergreet.testing.connector import ConnectorContract, is_a_sentence

AT = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
_NAMES = ["Maya", "Zoë Müller-Österreich", "山田　太郎", "שרה כהן", '👩🏽‍🌾 O\'Neill; "x", <b>', "a" * 200]
_NO_SENSE = [
    b"<html>Welcome</html>", b"", b"[1, 2", b'"text"', b"\xff\xfe\x00[", b"[" * 100_000, b'{"results": "none"}',
]  # fmt: skip
T = TypeVar("T")


class CrmConnectorContract(ConnectorContract):
    """Subclass it, say who you are, and give the fixtures; every rule is then a test of yours."""

    channel = "crm"
    protocol = CrmSource
    first_name: ClassVar[str] = "first_name"
    """The detail in which the name comes that `put` writes."""
    writes: ClassVar[bool] = True
    """False for one that is only read."""
    by_http: ClassVar[bool] = True
    """False for one that makes no HTTP requests."""
    pause: ClassVar[tuple[tuple[str, str], timedelta]] = (("Retry-After", "7"), timedelta(seconds=7))
    """A header with which the CRM asks for time, and how long that is."""
    seconds: ClassVar[float] = 20.0
    """What one call may take in these tests."""

    @pytest.fixture
    def connect(self) -> Callable[[], Any]:
        """Give a function that makes a connector that works, another one each time."""
        raise NotImplementedError("Override the fixture `connect`.")

    @pytest.fixture
    def connector(self, connect: Callable[[], Any]) -> Any:
        """Give one of those."""
        return connect()

    @pytest.fixture
    def unreachable(self, request: pytest.FixtureRequest) -> Any:
        """Give a connector that reaches nothing."""
        assert self.by_http, "Override the fixture `unreachable`."
        with Answering(b"") as gone:
            pass
        return request.getfixturevalue("at")(gone.url)

    def tried(self, connector: Any) -> Iterator[object]:
        """Read a page, and write a stage where that can be done."""
        try:
            yield connector.changed_since("")
        except ConnectorError as error:
            yield error
        if self.writes:
            yield from connector.push([_pushes(CrmRecord("1", "p@customer.example"))[0]])

    @pytest.fixture
    def put(self) -> Callable[[str, str], str]:
        """Give a function that makes or changes the contact with an address in the CRM, and returns its id there."""
        raise NotImplementedError("Override the fixture `put`.")

    @pytest.fixture
    def at(self) -> Callable[[str], Any]:
        """Give a function that makes a connector for a server at an address."""
        assert not self.by_http, "Override the fixture `at`."
        raise NotImplementedError

    @pytest.fixture
    def arrived(self) -> Callable[[], list[Push]]:
        """Give a function that tells what the CRM took so far."""
        assert not self.writes, "Override the fixture `arrived`."
        return list

    @pytest.fixture
    def silent(self) -> Any:
        """Give a connector whose CRM answers nothing that is written."""
        assert not self.writes, "Override the fixture `silent`."

    # Reading

    def test_every_contact_is_read_as_it_is(
        self, connect: Callable[[], CrmSource], put: Callable[[str, str], str]
    ) -> None:
        ids = {put(f"p{number}@customer.example", name): name for number, name in enumerate(_NAMES)}
        contacts, pages = self._read(connect())
        assert {one.id: one.details.get(self.first_name) for one in contacts.values()} == ids
        assert {one.email for one in contacts.values()} == {f"p{number}@customer.example" for number in range(6)}
        assert len(pages) > 1, "give `connect` pages of three contacts at most: what lies between pages is tested"
        for one in contacts.values():
            assert one.changed_at.utcoffset() == timedelta(0)
            with pytest.raises(FrozenInstanceError):
                one.id = "another"  # type: ignore[misc]

    def test_another_instance_goes_on_where_one_was(
        self, connect: Callable[[], CrmSource], put: Callable[[str, str], str]
    ) -> None:
        known = [put(f"p{number}@customer.example", "Maya") for number in range(5)]
        page = connect().changed_since("")
        rest, pages = self._read(connect(), page.cursor)
        assert {one.id for one in page.contacts} | set(rest) == set(known)
        new = put("new@customer.example", "Lee")
        told, _ = self._read(connect(), pages[-1].cursor)
        assert new in told

    def test_nobody_is_missed_who_changes_while_pages_are_read(
        self, connect: Callable[[], CrmSource], put: Callable[[str, str], str]
    ) -> None:
        addresses = [f"p{number}@customer.example" for number in range(9)]
        ids = {put(address, "before"): address for address in addresses}
        source = connect()
        page = source.changed_since("")
        last = {one.id: one for one in page.contacts}
        while page.more:
            read, unread = list(last), [number for number in ids if number not in last]
            for number in (*read[:1], *unread[-1:]):
                if last.get(number) is None or last[number].details[self.first_name] == "before":
                    put(ids[number], "after")
            page = source.changed_since(page.cursor)
            last |= {one.id: one for one in page.contacts}
        rest, _ = self._read(connect(), page.cursor)
        last |= rest
        assert set(last) == set(ids)
        now, _ = self._read(connect())
        assert {number: one.details for number, one in last.items()} == {n: one.details for n, one in now.items()}

    def test_a_cursor_of_nowhere_is_refused_with_a_sentence_or_begins_anew(
        self, connect: Callable[[], CrmSource], put: Callable[[str, str], str]
    ) -> None:
        known = put("p@customer.example", "Maya")
        for odd in ("no cursor of yours", "{", "0", "-1", "{}", "\0", "9" * 1000, "[[]]", '{"at": "never"}'):
            try:
                told = set(self._read(connect(), odd)[0])
            except (EvergreetError, ConnectorError) as error:
                told = set() if is_a_sentence(str(error)) else {"no sentence", str(error)}
            assert told <= {known}, odd

    # Writing

    def test_each_push_has_one_outcome_and_arrives(
        self, connect: Callable[[], Any], put: Callable[[str, str], str], arrived: Callable[[], list[Push]]
    ) -> None:
        if not self.writes:
            assert not isinstance(connect(), CrmSink)
            return
        sink = connect()
        assert sink.push([]) == []
        known = [
            CrmRecord(put(f"p{n}@customer.example", name), f"p{n}@customer.example") for n, name in enumerate("ab")
        ]
        batch = [push for record in known for push in _pushes(record)]
        outcomes = self._push(sink, batch)
        assert all(isinstance(outcome, Accepted) for outcome in outcomes), outcomes
        assert len(outcomes) == len(batch)
        assert sorted(map(_seen, arrived())) == sorted(map(_seen, batch))
        again: list[Push] = [push for push in batch if not isinstance(push, CrmNote | CrmTask)]
        assert all(isinstance(outcome, Accepted) for outcome in self._push(sink, again)), "told again it does no harm"

    def test_a_contact_that_is_not_there_is_refused_alone_and_not_made(
        self, connect: Callable[[], Any], put: Callable[[str, str], str], arrived: Callable[[], list[Push]]
    ) -> None:
        if not self.writes:
            return
        known = CrmRecord(put("p@customer.example", "Maya"), "p@customer.example")
        nobody = CrmRecord("", "bertha.distinct@customer.example")
        batch = [*_pushes(known)[:2], *_pushes(nobody), *_pushes(known)[2:]]
        for push, outcome in zip(batch, self._push(connect(), batch), strict=True):
            assert isinstance(outcome, Permanent if push.record == nobody else Accepted), (push, outcome)
            assert "distinct" not in repr(outcome), "reasons are kept longer than a person's data may be"
        assert all(push.record.email != nobody.email for push in arrived())
        assert len(self._read(connect())[0]) == 1

    def test_what_was_written_and_not_answered_is_in_doubt(self, silent: Any, put: Callable[[str, str], str]) -> None:
        if not self.writes:
            return
        record = CrmRecord(put("p@customer.example", "Maya"), "p@customer.example")
        for push in _pushes(record):
            (outcome,) = self._soon(lambda push=push: silent.push([push]))  # type: ignore[misc]
            assert isinstance(outcome, Retryable), outcome
            if isinstance(push, CrmNote | CrmTask):
                assert outcome.accepted == "maybe", outcome

    # Answers

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(401, Misconfigured), (403, Misconfigured), (429, Retryable), (500, Retryable), (503, Retryable)],
    )
    def test_an_answer_means_what_it_says(self, request: pytest.FixtureRequest, status: int, kind: type) -> None:
        if not self.by_http:
            return
        (header, value), pause = self.pause
        words = answer(status, b'{"message": "no"}', **({header: value} if status == 429 else {}))
        with Answering(words) as crm:
            connector = request.getfixturevalue("at")(crm.url)
            for fault in self._faults(connector):
                assert isinstance(fault, kind), fault
                assert is_a_sentence(str(fault)), fault
                if isinstance(fault, Retryable):
                    assert fault.accepted == "no"
                    assert fault.retry_after == (pause if status == 429 else fault.retry_after)

    def test_what_cannot_be_read_is_never_a_success(self, request: pytest.FixtureRequest) -> None:
        if not self.by_http:
            return
        with Answering(b"") as crm:
            connector = request.getfixturevalue("at")(crm.url)
            for content in _NO_SENSE:
                crm.words = answer(200, content)
                for fault in self._faults(connector):
                    assert isinstance(fault, ConnectorError | EvergreetError), (content[:20], fault)
                    assert is_a_sentence(str(fault)), fault

    def test_nothing_holds_it_for_ever_nor_leads_it_elsewhere(self, request: pytest.FixtureRequest) -> None:
        if not self.by_http:
            return
        with Answering(b"") as crm, Answering(answer(200, b"{}")) as elsewhere:
            connector = request.getfixturevalue("at")(crm.url)
            endings: list[bytes | GoesOn] = [
                b"",
                ENDLESS,
                answer(200, b"{", Content_Length="9"),
                answer(500, b"x" * 10_000_000),
            ]
            for words in (*endings, answer(302, Location=f"{elsewhere.url}/"), b"nonsense\r\n\r\n"):
                crm.words = words
                for fault in self._faults(connector):
                    assert isinstance(fault, ConnectorError | EvergreetError), (words[:40], fault)
                    assert len(str(fault)) < 1000
            assert elsewhere.requests == 0, "a key is not carried to where an answer points"
        gone = request.getfixturevalue("at")(crm.url)
        for fault in self._faults(gone):
            assert isinstance(fault, Retryable), fault
            assert fault.accepted == "no"

    def test_what_a_crm_says_of_a_secret_is_not_repeated(self, request: pytest.FixtureRequest) -> None:
        if not self.by_http:
            return
        with Answering(answer(401, " ".join(self.secrets).encode())) as crm:
            for fault in self._faults(request.getfixturevalue("at")(crm.url)):
                assert all(secret not in f"{fault} {fault!r}" for secret in self.secrets)

    def test_it_is_written_to_where_it_says_so(self, connector: CrmSource) -> None:
        assert isinstance(connector, CrmSink) == self.writes

    # How these rules ask

    def _read(self, source: CrmSource, cursor: str = "") -> tuple[dict[str, CrmContact], list[CrmPage]]:
        """Read to the end: the last word on each contact, and the pages."""
        pages: list[CrmPage] = []
        while not pages or pages[-1].more:
            pages.append(source.changed_since(cursor))
            assert isinstance(pages[-1], CrmPage)
            assert len(pages[-1].cursor) <= 1000
            assert not (pages[-1].more and pages[-1].cursor == cursor), "its cursor does not move"
            assert pages[-1].unreadable == ()
            assert len(pages) < 200, "it reads for ever"
            cursor = pages[-1].cursor
        return {one.id: one for page in pages for one in page.contacts}, pages

    def _faults(self, connector: Any) -> list[Exception]:
        """Ask for everything where nothing can go well, within bounded time; return what went wrong each time."""
        faults = []
        for ask in (lambda: connector.changed_since(""), connector.check):
            try:
                said: Any = self._soon(ask)
            except Exception as error:
                faults.append(error)
            else:
                raise AssertionError(f"an answer that says nothing was taken for {said!r}")
        if self.writes:
            (outcome,) = self._soon(lambda: connector.push([_pushes(CrmRecord("1", "p@customer.example"))[0]]))
            assert not isinstance(outcome, Accepted), "an answer that says nothing was taken for a success"
            faults.append(outcome)
        return faults

    def _soon(self, ask: Callable[[], T]) -> T:
        threads = ThreadPoolExecutor(1)
        try:
            return threads.submit(ask).result(timeout=self.seconds)
        finally:
            threads.shutdown(wait=False)

    @staticmethod
    def _push(sink: CrmSink, batch: list[Push]) -> list[Outcome]:
        size = sink.capabilities.batch_limit
        return [outcome for start in range(0, len(batch), size) for outcome in sink.push(batch[start : start + size])]


def _pushes(record: CrmRecord) -> list[Push]:
    """Return one of each kind about a contact."""
    title, text = "Zoë anrufen – 「今日」 ☎️", 'Sie hat "<b>nicht</b>" geantwortet;\n50 % & mehr'
    return [
        CrmStage(record, "loyalty", AT),
        CrmLastMessage(record, "thank-you/receipt", AT),
        CrmNote(record, f"note-{record.email}", title, text, AT),
        CrmTask(record, f"task-{record.email}", title, text, AT + timedelta(days=1)),
        CrmConsent(record, granted=False, at=AT, topic="news"),
        CrmConsent(record, granted=False, at=AT),
    ]


def _seen(push: Push) -> tuple[str, ...]:
    """Return what of a push must have arrived: dates and keys a CRM may keep in another form."""
    match push:
        case CrmStage():
            said: tuple[str, ...] = (push.stage,)
        case CrmLastMessage():
            said = (push.name,)
        case CrmConsent():
            said = (push.topic, str(push.granted))
        case _:
            said = (push.title, " ".join(push.text.split()))
    return (type(push).__name__, push.record.email, *said)
