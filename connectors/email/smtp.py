"""SMTP: one recipient per message, over a few connections that are kept and used again.

The connector never repeats a message of which anything was handed over; what is in doubt is said to be in doubt.
"""

import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Self, TypeVar

from connectors.elapsed import Clock, elapsed
from connectors.email.mime import Mime, compose
from connectors.email.reports import read_report
from connectors.email.smtp_opening import Connect, open_session
from connectors.email.smtp_session import Session, StaleConnection
from connectors.email.smtp_settings import SmtpSettings
from connectors.environment import read_settings
from evergreet.contracts import Capabilities, EmailMessage, Outcome, ProviderEvent
from evergreet.errors import ConnectorError, Misconfigured, Permanent, Retryable


class Smtp:
    """Hands messages to one SMTP server; `send` may be called from several threads."""

    name: ClassVar[str] = "smtp"
    capabilities: ClassVar[Capabilities] = Capabilities(
        batch_limit=1000, window=50, connections=4, proven_by=("aiosmtpd", "Postfix smtp-sink")
    )

    def __init__(
        self,
        settings: SmtpSettings,
        *,
        context: ssl.SSLContext | None = None,
        connect: Connect = socket.create_connection,
        clock: Clock = elapsed,
    ) -> None:
        self._settings = settings
        self._tls = context
        self._connect = connect
        self._clock = clock
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(settings.connections)
        self._idle: list[Session] = []
        self._closed = False
        # What the class declares are the defaults of the settings.
        self.capabilities = replace(  # type: ignore[misc]
            type(self).capabilities, window=settings.window, connections=settings.connections
        )

    @classmethod
    def from_environment(cls) -> Self:
        """Read `EVERGREET_SMTP_…`."""
        return cls(read_settings(SmtpSettings))

    def send(self, batch: Sequence[EmailMessage]) -> list[Outcome]:
        """Hand the messages over one after another on one connection.

        After `batch_seconds` no further message is begun; a connection that cannot be opened stands for all
        messages that were left. Of those nothing was accepted.
        """
        if not batch:
            return []
        ends = self._clock() + self._settings.batch_seconds
        if not self._free.acquire(timeout=self._settings.batch_seconds):
            return [Retryable("All connections are in use.", accepted="no") for _ in batch]
        line = _Line(self._take_idle())
        try:
            return [self._send_one(line, message, ends) for message in batch]
        finally:
            self._give_back(line.session)
            self._free.release()

    def check(self) -> str:
        """Connect, secure, sign in and say goodbye."""
        session = self._open()
        tls = session.sock.version() if isinstance(session.sock, ssl.SSLSocket) else None
        session.end()
        host, port = self._settings.server
        secured = f"over {tls} with a verified certificate" if tls else "in plain text"
        signed_in = "signed in" if self._settings.credentials else "without signing in"
        return f"{host}:{port} answers {secured}, {signed_in}."

    @staticmethod
    def read_report(mail: bytes, received_at: datetime) -> list[ProviderEvent]:
        """Read a bounce or a complaint that came back by mail."""
        return read_report(mail, received_at)

    def close(self) -> None:
        """Say goodbye on the connections that are not in use; those that are end with their batch."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.end()

    def __repr__(self) -> str:
        return "Smtp({}:{})".format(*self._settings.server)

    def _send_one(self, line: "_Line", message: EmailMessage, ends: float) -> Outcome:
        try:
            mail = compose(message)
        except (Permanent, Misconfigured) as refused:
            return _as_value(refused)
        if self._settings.return_path is not None:
            mail = replace(mail, sender=self._settings.return_path)
        if line.down is None and self._clock() > ends:
            line.down = Retryable("Not begun: the messages before it took too long.", accepted="no")
        if line.down is not None:
            return line.down
        try:
            return self._hand_over(line, mail, message.key)
        except (Retryable, Misconfigured) as unreachable:
            line.down = _as_value(unreachable)
            return line.down

    def _hand_over(self, line: "_Line", mail: Mime, key: str) -> Outcome:
        session = line.session
        if session is not None and session.usable and session.carried >= self._settings.messages_per_connection:
            session.end()
        if session is None or not session.usable:
            session = line.session = self._open()
        line.session = None  # whatever is raised from here on leaves it in an unknown state
        try:
            outcome = session.hand_over(mail, key)
        except StaleConnection:
            session = self._open()
            outcome = session.hand_over(mail, key)
        line.session = session
        return outcome

    def _open(self) -> Session:
        return open_session(self._settings, self._context(), self._connect, self._clock)

    def _context(self) -> ssl.SSLContext | None:
        if self._settings.security == "none":
            return None
        with self._lock:
            if self._tls is None:
                try:
                    self._tls = ssl.create_default_context(cafile=self._settings.ca_file)
                except OSError as error:
                    raise Misconfigured(
                        f"EVERGREET_SMTP_CA_FILE={self._settings.ca_file} cannot be used: {error.strerror or error}."
                    ) from None
            return self._tls

    def _take_idle(self) -> Session | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _give_back(self, session: Session | None) -> None:
        if session is None or not session.usable:
            return
        with self._lock:
            if not self._closed:
                self._idle.append(session)
                return
        session.end()


@dataclass(slots=True)
class _Line:
    """What one batch works with: its connection, and once none can be had, why."""

    session: Session | None
    down: Retryable | Misconfigured | None = None


Kind = TypeVar("Kind", bound=ConnectorError)


def _as_value(error: Kind) -> Kind:
    """An outcome is kept: without the frames it was raised in, which hold the settings."""
    error.__context__ = None
    return error.with_traceback(None)
