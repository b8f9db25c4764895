"""Two SMTP servers for tests: one that does as it is told, fault by fault, and a real one with TLS and sign-in."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

Then = Literal["go on", "close", "reset", "hang", "trickle"]


@dataclass(frozen=True)
class Answer:
    """What the server does at one step: the octets it sends, in pieces, and what it does then.

    `reset` breaks the connection, `hang` says no other word, `trickle` says the same again and again.
    """

    pieces: Sequence[bytes] = ()
    then: Then = "go on"


def say(*pieces: bytes, then: Then = "go on") -> Answer:
    return Answer(pieces, then)


CLOSE = Answer(then="close")
RESET = Answer(then="reset")
HANG = Answer(then="hang")

Script = Mapping[str, Answer | list[Answer]]
"""Answers by step (`connect`, `EHLO`, `MAIL`, …, `.` for what follows the content).

A list is used up one by one, over all connections; then the usual answer is given.
"""

_OK = say(b"250 2.0.0 Ok\r\n")
_USUAL = {
    "connect": say(b"220 scripted.test ESMTP\r\n"),
    "EHLO": say(b"250-scripted.test\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"),
    "HELO": say(b"250 scripted.test\r\n"),
    "DATA": say(b"354 go on\r\n"),
    ".": say(b"250 2.0.0 Ok: queued as 4XYZ12\r\n"),
    "QUIT": say(b"221 2.0.0 bye\r\n"),
}


@dataclass
class Conversation:
    """What one connection brought: the lines outside the content, and each content as it was on the wire."""

    commands: list[str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)


class ScriptedServer:
    """Answers each connection by its script; the last one stands for all that follow."""

    def __init__(self, *scripts: Script, pipelining: bool = False) -> None:
        self.pipelining = pipelining
        self._ehlo = say(b"250-scripted.test\r\n250 PIPELINING\r\n") if pipelining else _USUAL["EHLO"]
        self._scripts = scripts or ({},)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.conversations: list[Conversation] = []
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for opened in (self._listener, *self._open):
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    @property
    def contents(self) -> list[bytes]:
        """Every content that was ended by a dot, over all connections."""
        return [content for conversation in self.conversations for content in conversation.contents]

    def _start(self, work: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                opened, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(opened)
            script = self._scripts[min(len(self.conversations), len(self._scripts) - 1)]
            conversation = Conversation()
            self.conversations.append(conversation)
            self._start(self._converse, opened, script, conversation)

    def _converse(self, opened: socket.socket, script: Script, conversation: Conversation) -> None:
        with suppress(OSError), opened, opened.makefile("rb") as lines:
            going_on = self._do(opened, self._told(script, "connect"))
            while going_on and (line := lines.readline()):
                conversation.commands.append(line.decode("latin-1").removesuffix("\r\n"))
                step = (line.split() or [b"?"])[0].decode("latin-1").upper()
                told = self._told(script, step)
                going_on = self._do(opened, told) and step != "QUIT"
                if going_on and step == "DATA" and b"".join(told.pieces).startswith(b"354"):
                    content = _content(lines)
                    if content is None:
                        return
                    conversation.contents.append(content)
                    going_on = self._do(opened, self._told(script, "."))

    def _told(self, script: Script, step: str) -> Answer:
        usual = self._ehlo if step == "EHLO" else _USUAL.get(step, _OK)
        told = script.get(step, usual)
        if isinstance(told, Answer):
            return told
        with self._lock:
            return told.pop(0) if told else usual

    def _do(self, opened: socket.socket, told: Answer) -> bool:
        for piece in told.pieces:
            opened.sendall(piece)
        if told.then == "hang":
            self._over.wait()
        while told.then == "trickle" and not self._over.wait(0.02):
            opened.sendall(b"".join(told.pieces))
        if told.then == "reset":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return told.then == "go on"


def _content(lines: BinaryIO) -> bytes | None:
    content = b""
    while line := lines.readline():
        if line == b".\r\n":
            return content
        content += line
    return None


@dataclass(frozen=True)
class Arrival:
    """What the real server took: the envelope and the octets."""

    sender: str
    recipients: list[str]
    content: bytes
    user: str | None
    tls: bool

    @property
    def message(self) -> EmailMessage:
        parsed = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed


class _Handler:
    def __init__(self, arrivals: list[Arrival], peers: set[Any], *, tls: bool) -> None:
        self._arrivals = arrivals
        self._peers = peers
        self._tls = tls

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.original_content, bytes)
        user = session.auth_data.decode() if session.auth_data else None
        self._peers.add(session.peer)
        self._arrivals.append(
            Arrival(
                envelope.mail_from or "",
                envelope.rcpt_tos,
                envelope.original_content,
                user,
                self._tls or session.ssl is not None,
            )
        )
        return f"250 2.0.0 Ok: queued as Q{len(self._arrivals)}"


class RealServer(Controller):
    """aiosmtpd on a random port; `security` as in the settings of the connector."""

    def __init__(
        self, context: ssl.SSLContext | None = None, *, security: str = "none", user: str = "", password: str = ""
    ) -> None:
        self.arrivals: list[Arrival] = []
        self.peers: set[Any] = set()
        self._socket = socket.create_server(("127.0.0.1", 0))

        def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
            right = isinstance(data, LoginPassword) and data == LoginPassword(user.encode(), password.encode())
            return AuthResult(success=right, handled=False, auth_data=user.encode() if right else None)

        super().__init__(
            _Handler(self.arrivals, self.peers, tls=security == "tls"),
            hostname="127.0.0.1",
            port=self._socket.getsockname()[1],
            ssl_context=context if security == "tls" else None,
            tls_context=context if security == "starttls" else None,
            require_starttls=security == "starttls",
            auth_required=bool(user),
            auth_require_tls=security == "starttls",
            authenticator=authenticate,
            server_hostname="real.test",
        )

    def _create_server(self) -> Any:
        return self.loop.create_server(self._factory_invoker, sock=self._socket, ssl=self.ssl_context)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something to come to pass."""
    waiting = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not come to pass in time")
