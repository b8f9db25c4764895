"""A mailbox on an IMAP server (RFC 3501), over TLS; every answer is bounded in time and size."""

import imaplib
import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from email.utils import parseaddr
from typing import Any, Self

from evergreet.bounces.taking import LARGEST
from evergreet.errors import ConfigurationError, ConnectorError, Misconfigured, Retryable
from evergreet.settings import Settings

SECONDS = 30.0
"""How long the server is waited for, each time."""
_PORTS = {"tls": 993, "starttls": 143}
_MOST_MARKED = 500
"""Mails that are marked with one command: a line has an end."""
_BODY = f"(BODY.PEEK[]<0.{LARGEST}>)"
_REPORTS = (
    "OR", "HEADER", "Content-Type", '"multipart/report"',
    "OR", "FROM", '"mailer-daemon"', "OR", "FROM", '"postmaster"', "FROM", '"staff@hotmail.com"',
)  # fmt: skip
"""In small letters or large: a server compares without regard to them (RFC 3501 §6.4.4)."""
_UIDS = re.compile(rb"\d+")


class _Bounded:
    """Refuses an answer that is larger than what was asked for."""

    def read(self, size: int) -> bytes:
        """Read so many octets."""
        if size > LARGEST:
            raise imaplib.IMAP4.abort("an answer is larger than what was asked for")
        return super().read(size)  # type: ignore[misc, no-any-return]


class _Tls(_Bounded, imaplib.IMAP4_SSL):
    """TLS from the first octet."""


class _StartTls(_Bounded, imaplib.IMAP4):
    """TLS after STARTTLS."""


class Imap:
    """The folder of the settings `EVERGREET_BOUNCES_IMAP_…`; a context manager, which signs in and out.

    Raises `Misconfigured` where the settings are the fault, `Retryable` where the server is.
    """

    def __init__(self, settings: Settings) -> None:
        host, user, password = (
            settings.bounces_imap_host, settings.bounces_imap_user, settings.bounces_imap_password,
        )  # fmt: skip
        if not host or not user or password is None:
            raise ConfigurationError(
                "--imap needs EVERGREET_BOUNCES_IMAP_HOST, EVERGREET_BOUNCES_IMAP_USER and "
                "EVERGREET_BOUNCES_IMAP_PASSWORD."
            )
        self._settings = settings
        self._host, self._user, self._password = host, user, password.get_secret_value()
        self._server: imaplib.IMAP4

    def __enter__(self) -> Self:
        try:
            self._server = self._connect()
        except (OSError, imaplib.IMAP4.error) as error:
            raise self._fault(error, "reached") from None
        try:
            self._sign_in()
            folder = self._settings.bounces_imap_folder
            answer, _ = self._server.select(f'"{folder}"')
            if answer != "OK":
                raise Misconfigured(f"EVERGREET_BOUNCES_IMAP_FOLDER: {self._host} has no folder {folder!r}.")
        except (OSError, imaplib.IMAP4.error) as error:
            self._leave()
            raise self._fault(error, "used") from None
        except ConnectorError:
            self._leave()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._leave()

    def mails(self, *, seen: bool) -> Iterator[tuple[str, bytes]]:
        """Return numbers and beginnings of mails that say they are reports, come from who writes some, or answer ours.

        Others are not even fetched.
        """
        wanted = () if seen else ("UNSEEN",)
        domain = parseaddr(self._settings.sender)[1].rpartition("@")[2].encode("idna").decode()
        try:
            _, found = self._server.uid("SEARCH", *wanted, "OR", "HEADER", "In-Reply-To", f'"@{domain}>"', *_REPORTS)
            for uid in _UIDS.findall(found[0] or b""):
                _, answer = self._server.uid("FETCH", uid.decode(), _BODY)
                mail = next((part[1] for part in answer if isinstance(part, tuple)), None)
                if mail is not None:  # else somebody has removed it
                    yield uid.decode(), mail
        except (OSError, imaplib.IMAP4.error) as error:
            raise self._fault(error, "read") from None

    def mark(self, names: Sequence[str]) -> None:
        """Set the flag that says they have been seen."""
        try:
            for start in range(0, len(names), _MOST_MARKED):
                self._server.uid("STORE", ",".join(names[start : start + _MOST_MARKED]), "+FLAGS.SILENT", "(\\Seen)")
        except (OSError, imaplib.IMAP4.error) as error:
            raise self._fault(error, "written to") from None

    def _connect(self) -> imaplib.IMAP4:
        settings = self._settings
        security = settings.bounces_imap_security
        port = settings.bounces_imap_port or _PORTS[security]
        try:
            trusted = ssl.create_default_context(cafile=settings.bounces_imap_ca_file)
        except OSError as error:
            raise Misconfigured(f"EVERGREET_BOUNCES_IMAP_CA_FILE cannot be used: {error.strerror or error}.") from None
        if security == "tls":
            return _Tls(self._host, port, ssl_context=trusted, timeout=SECONDS)
        server = _StartTls(self._host, port, timeout=SECONDS)
        try:
            server.starttls(trusted)
        except BaseException:
            with suppress(OSError):  # TLS that failed has closed it already
                server.shutdown()
            raise
        return server

    def _sign_in(self) -> None:
        try:
            if "AUTH=PLAIN" in self._server.capabilities:
                name, secret = self._user, self._password
                self._server.authenticate("PLAIN", lambda _challenge: f"\0{name}\0{secret}".encode())
            else:
                self._server.login(self._user, self._password)
        except (imaplib.IMAP4.abort, OSError):
            raise
        except (imaplib.IMAP4.error, UnicodeEncodeError):  # what the server says may repeat what it was told
            raise Misconfigured(
                f"{self._host} does not let EVERGREET_BOUNCES_IMAP_USER in with that password."
            ) from None

    def _leave(self) -> None:
        with suppress(OSError, imaplib.IMAP4.error):
            self._server.logout()
        with suppress(OSError):
            self._server.shutdown()  # where there was no answer to that

    def _fault(self, error: Any, what: str) -> ConnectorError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return Misconfigured(f"The certificate of {self._host} cannot be trusted: {error.verify_message}.")
        words = " ".join(str(error).split())[:200] or type(error).__name__
        return Retryable(f"The mailbox at {self._host} cannot be {what}: {words}.", accepted="no")
