"""Bounces are read from a real IMAP server (pymap) over TLS; one that misbehaves is a typed error, in bounds."""

import imaplib
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from connectors.email.smtp import Smtp
from evergreet.bounces import imap
from evergreet.bounces.imap import Imap
from evergreet.bounces.taking import LARGEST, Taken, take
from evergreet.errors import ConfigurationError, Misconfigured, Retryable
from evergreet.settings import Settings
from evergreet.tokens import Tokens
from tests.bounces.reports import VACATION, answer, dsn
from tests.bounces.test_taking import keys
from tests.feedback.test_applying import sent, suppressions
from tests.story import Story

PASSWORD = "pass wörd \"'\\"
Configure = Callable[..., Settings]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    return folder


@pytest.fixture(scope="module")
def server(certificate: Path) -> Iterator[int]:
    """Start pymap with one empty mailbox; returns its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [
        str(Path(sys.executable).with_name("pymap")), "--host", "127.0.0.1", "--port", str(port),
        "--cert", str(certificate / "server.pem"), "--key", str(certificate / "server.pem"),
        "dict", "--demo-user", "bounces", "--demo-password", PASSWORD,
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            ends = time.monotonic() + 30
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert process.poll() is None
                    assert time.monotonic() < ends
                    time.sleep(0.05)
            yield port
        finally:
            process.terminate()


@pytest.fixture
def configure(certificate: Path) -> Configure:
    def settings(port: int, **more: Any) -> Settings:
        known: dict[str, Any] = {
            "host": "localhost", "user": "bounces", "password": PASSWORD, "security": "starttls",
            "ca_file": certificate / "ca.pem", "port": port,
        }  # fmt: skip
        return Settings(**{f"bounces_imap_{name}": value for name, value in {**known, **more}.items()})

    return settings


def client(settings: Settings) -> imaplib.IMAP4:
    with Imap(settings) as opened:
        assert opened
    plain = imaplib.IMAP4("localhost", settings.bounces_imap_port or 0, timeout=10)
    plain.starttls(ssl.create_default_context(cafile=settings.bounces_imap_ca_file))
    plain.authenticate("PLAIN", lambda _: f"\0bounces\0{PASSWORD}".encode())
    plain.select()
    return plain


def test_bounces_are_taken_from_a_real_server_and_flagged_once_they_are_stored(
    story: Story, server: int, configure: Configure
) -> None:
    settings = configure(server)
    sent(story, "ana")
    (key,) = keys(story, ["ana@example.org"])
    beside = client(settings)
    for uid in beside.uid("SEARCH", "ALL")[1][0].split():
        beside.uid("STORE", uid.decode(), "+FLAGS", "(\\Deleted)")
    beside.expunge()
    large = dsn(key, message_id="<2@mx.example>") + b"x" * LARGEST
    written = answer(key).replace(b"@shop.example", b"@fernway.example")
    for mail in (dsn(key), VACATION, large, written, answer(key)):
        assert beside.append("INBOX", "", None, mail)[0] == "OK"

    def unseen() -> int:
        beside.noop()
        return len(beside.uid("SEARCH", "UNSEEN")[1][0].split())

    def taken(*, seen: bool = False) -> Taken:
        tokens = Tokens([each.get_secret_value() for each in story.settings.secret_keys])
        with Imap(settings) as mailbox:
            return take(story.database, Smtp, mailbox, tokens, story.clock, seen=seen)[0]

    with Imap(settings) as mailbox:
        assert [len(mail) for _, mail in mailbox.mails(seen=False)] == [len(dsn(key)), LARGEST, len(written)]
    assert unseen() == 5, "reading alone marks nothing"
    assert taken() == Taken(reports=2, told=2, others=1, replies=1)
    assert unseen() == 3, "answers are left to whoever reads the mailbox"
    assert taken() == Taken(others=1, replies=1)
    assert taken(seen=True) == Taken(reports=2, told=2, others=1, replies=1)
    assert suppressions(story) == {"ana@example.org": ("all", "hard_bounce", "webhook:smtp")}
    beside.logout()


def test_what_is_wrong_is_said_without_the_password(server: int, configure: Configure) -> None:
    for settings, error, words in [
        (configure(server, password="n0t-1t"), Misconfigured, "does not let EVERGREET_BOUNCES_IMAP_USER in"),
        (configure(server, folder="Bounces"), Misconfigured, "has no folder 'Bounces'"),
        (configure(server, ca_file=None), Misconfigured, "cannot be trusted"),
        (configure(server, ca_file=Path("missing.pem")), Misconfigured, "CA_FILE cannot be used"),
        (configure(1), Retryable, "cannot be reached"),
        (configure(server, security="tls"), Retryable, "cannot be reached"),
    ]:
        with pytest.raises(error, match=words) as raised, Imap(settings):
            pass
        assert "n0t-1t" not in str(raised.value)
        assert PASSWORD not in repr(raised.value)
    with pytest.raises(ConfigurationError, match="--imap needs"):
        Imap(Settings())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"* 1 FETCH (UID 1 BODY[]<0> {999999999}\r\n", "larger than what was asked for"),
        (b"* 1 FETCH (UID 1 BODY[]<0> {10}\r\nabc", "EOF|unexpected"),
        (b"", "EOF"),
        (b"* " + b"x" * 1_000_100 + b"\r\n", "more than 1000000 bytes"),
    ],
)
def test_a_server_that_misbehaves_is_a_typed_error(
    certificate: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch, answer: bytes, words: str
) -> None:
    monkeypatch.setattr(imap, "SECONDS", 5)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "server.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener, context, answer))
        thread.start()
        settings = configure(listener.getsockname()[1], security="tls", password="a")
        with pytest.raises(Retryable, match=f"cannot be read: .*({words})"), Imap(settings) as mailbox:
            list(mailbox.mails(seen=False))
        thread.join(10)
        assert not thread.is_alive()


def serve(listener: socket.socket, context: ssl.SSLContext, answer: bytes) -> None:
    """Speak as much IMAP as leads to a FETCH, and then say something else."""
    raw, _ = listener.accept()
    with context.wrap_socket(raw, server_side=True) as secured, secured.makefile("rwb") as lines:
        lines.write(b"* OK hello\r\n")
        lines.flush()
        for line in lines:
            tag, command = line.split()[:2]
            if command == b"UID" and b"FETCH" in line:
                lines.write(answer)
                lines.flush()
                return
            said = {
                b"CAPABILITY": b"* CAPABILITY IMAP4rev1 AUTH=LOGIN\r\n", b"SELECT": b"* 1 EXISTS\r\n",
                b"UID": b"* SEARCH 1\r\n",
            }.get(command, b"")  # fmt: skip
            lines.write(said + tag + b" OK done\r\n")
            lines.flush()
