"""SMTP passes the contract, and the contract notices who breaks it."""

import inspect
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from email import message_from_bytes
from pathlib import Path
from typing import Any, ClassVar

import pytest

from connectors.email.outbox import Outbox, OutboxSettings
from connectors.email.smtp import Smtp
from evergreet.contracts import Accepted, Capabilities, EmailMessage, EmailSender, Found, Outcome
from evergreet.errors import Permanent
from evergreet.testing import Arrived, EmailConnectorContract
from evergreet.testing.email import email
from tests.connectors.email.servers import HANG, RealServer, ScriptedServer

CANARY = "canary-d0nt-tell"
Connect = Callable[..., Smtp]


class TestSmtp(EmailConnectorContract):
    entry_point = "smtp"
    required_settings = ("EVERGREET_SMTP_HOST",)
    secrets = (CANARY,)

    @pytest.fixture
    def server(self, real: Callable[..., RealServer]) -> RealServer:
        return real(security="starttls", user="shop", password=CANARY)

    @pytest.fixture
    def connector(self, server: RealServer, connect_to: Connect, ca_file: Path) -> EmailSender:
        return connect_to(
            server.port, host="localhost", security="starttls", ca_file=ca_file, username="shop", password=CANARY
        )

    @pytest.fixture
    def arrived(self, server: RealServer) -> Callable[[], list[Arrived]]:
        return lambda: [Arrived.from_mime(tuple(a.recipients), a.content) for a in list(server.arrivals)]

    @pytest.fixture
    def unreachable(self, real: Callable[..., RealServer], connect_to: Connect, ca_file: Path) -> EmailSender:
        server = real(security="starttls", user="shop", password="another")
        return connect_to(
            server.port, host="localhost", security="starttls", ca_file=ca_file, username="shop", password=CANARY
        )

    @pytest.fixture
    def silent(self, connect_to: Connect) -> Iterator[EmailSender]:
        with ScriptedServer({".": HANG}) as server:
            yield connect_to(server.port, timeout=0.3)


class _Careless(Outbox):
    """A connector with one mistake at a time."""

    mistake: ClassVar[str] = ""
    over: ClassVar[threading.Event]

    def send(self, batch: Sequence[EmailMessage]) -> list[Outcome]:
        match self.mistake:
            case "loses an outcome":
                return super().send(batch)[:-1]
            case "mixes the order":
                return super().send(batch)[::-1]
            case "names nothing":
                return [Accepted("") if isinstance(o, Accepted) else o for o in super().send(batch)]
            case "writes twice":
                super().send([replace(message, key=f"{message.key}.again") for message in batch])
            case "fails as a whole":
                outcomes = super().send(batch)
                return outcomes if all(isinstance(o, Accepted) for o in outcomes) else [Permanent("Bad.")] * len(batch)
            case "suppresses of its own":
                return [
                    Permanent(o.reason, address_invalid=True) if isinstance(o, Permanent) else o
                    for o in super().send(batch)
                ]
            case "cleans silently":
                clean = [replace(message, subject=message.subject.partition("\r")[0]) for message in batch]
                return super().send(clean)
            case "tells the address":
                return [Permanent(f"{m.to.address} is bad.") for m in batch]
            case "drops headers":
                return super().send([replace(message, headers={}) for message in batch])
            case "makes up keys":
                return super().send([replace(message, key=f"k{time.monotonic_ns()}") for message in batch])
            case "waits for ever":
                self.over.wait()
        return super().send(batch)

    def find(self, keys: Sequence[str]) -> dict[str, Found]:
        if self.mistake == "finds anything":
            return {key: Found(True, key) for key in keys}
        return super().find(keys)

    def check(self) -> str:
        if self.mistake == "sends a test mail":
            self.send([email("0.check")])
        return "ok" if self.mistake == "says ok" else super().check()


@pytest.mark.parametrize(
    ("mistake", "rule"),
    [
        ("loses an outcome", "each_message_has_one_outcome_and_arrives_once"),
        ("mixes the order", "outcomes_stand_in_the_order_of_the_messages"),
        ("names nothing", "each_message_has_one_outcome_and_arrives_once"),
        ("writes twice", "each_message_has_one_outcome_and_arrives_once"),
        ("writes twice", "several_threads_may_send"),
        ("fails as a whole", "one_invalid_message_does_not_hurt_the_others"),
        ("suppresses of its own", "one_invalid_message_does_not_hurt_the_others"),
        ("cleans silently", "a_smuggled_header_is_refused_before_anything_is_sent"),
        ("tells the address", "a_reason_names_no_recipient"),
        ("drops headers", "one_click_headers_arrive_unbroken"),
        ("makes up keys", "a_repeat_is_the_same_message"),
        ("finds anything", "what_it_finds_is_true"),
        ("sends a test mail", "check_says_in_a_sentence_what_it_found"),
        ("says ok", "check_says_in_a_sentence_what_it_found"),
        ("waits for ever", "a_silent_provider_does_not_hold_us_for_ever"),
        ("declares nothing", "its_capabilities_are_consistent"),
        ("is no connector of ours", "it_is_found_by_its_entry_point"),
    ],
)
def test_the_contract_notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: str, rule: str) -> None:
    careless = _Careless(OutboxSettings(dir=tmp_path))
    monkeypatch.setattr(_Careless, "mistake", mistake)
    monkeypatch.setattr(_Careless, "over", threading.Event(), raising=False)
    if mistake == "declares nothing":
        monkeypatch.setattr(_Careless, "capabilities", Capabilities())
    contract = TestSmtp()
    monkeypatch.setattr(TestSmtp, "entry_point", "outbox")
    monkeypatch.setattr(TestSmtp, "seconds", 0.2)
    given: dict[str, Any] = {
        "connector": careless,
        "silent": careless,
        "arrived": lambda: [
            Arrived.from_mime((str(message_from_bytes(path.read_bytes())["To"]),), path.read_bytes())
            for path in (tmp_path / "new").glob("*")
        ],
        "place": "subject",
        "smuggled": "\r\nBcc: evil@customer.example",
    }
    test = getattr(contract, f"test_{rule}")
    wanted = inspect.signature(test).parameters
    with pytest.raises((AssertionError, ValueError, TimeoutError)):
        test(**{name: value for name, value in given.items() if name in wanted})
    careless.over.set()


def test_the_package_itself_needs_no_pytest() -> None:
    program = (
        "import sys, evergreet.contracts, evergreet.registry, connectors.email.smtp, connectors.email.outbox\n"
        "assert 'pytest' not in sys.modules\n"
        "import evergreet.testing\n"
        "assert 'pytest' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
