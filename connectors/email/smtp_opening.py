"""Opening an SMTP connection: reach the server, secure it, sign in; each failure typed by what mends it."""

import ipaddress
import smtplib
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable

from connectors.elapsed import Clock
from connectors.email.smtp_answers import said
from connectors.email.smtp_session import Session
from connectors.email.smtp_settings import SmtpSettings
from evergreet.errors import Misconfigured, Retryable

Connect = Callable[..., socket.socket]


def open_session(settings: SmtpSettings, context: ssl.SSLContext | None, connect: Connect, clock: Clock) -> Session:
    """Connect, introduce ourselves, go over to TLS and sign in, all within the time limit.

    Raises `Retryable` (nothing was accepted) for what passes: refused, no answer, 4xx; `Misconfigured` for what
    a person must mend: unknown host, certificate, credentials, 5xx.
    """
    host, port = settings.server
    where = f"{host}:{port}"
    ends = clock() + settings.timeout
    try:
        connected = connect((host, port), timeout=settings.timeout)
    except (socket.gaierror, UnicodeError) as error:
        if getattr(error, "errno", None) == socket.EAI_AGAIN:
            raise Retryable(f"The name {host} could not be looked up just now.", accepted="no") from None
        raise Misconfigured(f"There is no host {host}: correct EVERGREET_SMTP_HOST.") from None
    except OSError as error:
        said_so = error.strerror or "no answer in time"
        raise Retryable(f"No connection to {where}: {said_so}.", accepted="no") from None
    helo = settings.helo or _our_name(connected)
    session = Session(connected, helo=helo, timeout=settings.timeout, opening_ends=ends, clock=clock)
    try:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _open(session, settings, context)
    except OSError as error:  # smtplib's errors are such, too
        session.close()
        raise _typed(error, where, settings) from None
    session.opened()
    return session


def _typed(error: OSError, where: str, settings: SmtpSettings) -> Retryable | Misconfigured:
    match error:
        case ssl.SSLCertVerificationError():
            return Misconfigured(
                f"The certificate of {where} cannot be trusted: {error.verify_message}. Correct "
                "EVERGREET_SMTP_HOST, or name the authority that issued it in EVERGREET_SMTP_CA_FILE."
            )
        case smtplib.SMTPResponseException(smtp_code=code, smtp_error=text):
            words = _without_secrets(text.decode("utf-8", "replace") if isinstance(text, bytes) else text, settings)
            reason = f"{where} does not let us in: {said(code, words.encode())}"
            return Misconfigured(reason) if 500 <= code <= 599 else Retryable(reason, accepted="no")
        case smtplib.SMTPServerDisconnected():
            return Retryable(f"{where} was lost while the connection was opened: {error}.", accepted="no")
        case smtplib.SMTPException():
            return Misconfigured(_without_secrets(f"{where} cannot be used: {error}", settings))
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return Retryable(f"{where} was lost while TLS was begun.", accepted="no")
        case ssl.SSLError():
            return Misconfigured(
                f"{where} and we do not come to terms on TLS ({error.reason or 'no reason given'}): is "
                "EVERGREET_SMTP_SECURITY right for this port?"
            )
        case _:
            why = error.strerror or type(error).__name__
            return Retryable(f"{where} was lost while the connection was opened: {why}.", accepted="no")


def _open(session: Session, settings: SmtpSettings, context: ssl.SSLContext | None) -> None:
    host, _ = settings.server
    if context is not None and settings.security == "tls":
        session.secure(context, host)
    _expect(session.getreply(), 220)
    session.ehlo_or_helo_if_needed()
    if context is not None and settings.security == "starttls":
        if not session.has_extn("starttls"):
            raise smtplib.SMTPException("it does not offer STARTTLS (EVERGREET_SMTP_SECURITY)")
        _expect(session.docmd("STARTTLS"), 220)
        session.secure(context, host)
        session.ehlo_or_helo_if_needed()
    if settings.credentials is not None:
        if not session.has_extn("auth"):
            raise smtplib.SMTPException("it does not offer to sign in (EVERGREET_SMTP_USERNAME)")
        try:
            session.login(*settings.credentials)
        except UnicodeEncodeError:  # the error holds the password
            raise smtplib.SMTPException("user name and password must be ASCII (EVERGREET_SMTP_PASSWORD)") from None
        except ValueError:
            raise smtplib.SMTPException("what it says while signing in makes no sense") from None


def _expect(answer: tuple[int, bytes], code: int) -> None:
    if answer[0] != code:
        raise smtplib.SMTPResponseException(*answer)


def _our_name(connected: socket.socket) -> str:
    """Our name if it is a full one, else our address (RFC 5321 §4.1.4); without asking the name service."""
    name = socket.gethostname()
    if "." in name.strip(".") and name.isascii():
        return name
    address = ipaddress.ip_address(connected.getsockname()[0].partition("%")[0])
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def _without_secrets(text: str, settings: SmtpSettings) -> str:
    """A server may quote what it was sent: take user name and password out, as they are and as they travel."""
    if settings.credentials is None:
        return text
    username, password = settings.credentials
    for secret in (f"\0{username}\0{password}", password, username):
        for form in (b64encode(secret.encode()).decode("ascii"), secret):
            text = text.replace(form, "(hidden)")
    return text
