"""Opening an SMTP connection: reach the server, secure it, sign in; each failure typed by what mends it."""

import ipaddress
import smtplib
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable

from connectors.email.smtp_answers import said
from connectors.email.smtp_session import Clock, Session
from connectors.email.smtp_settings import SmtpSettings
from evergreet.errors import Misconfigured, Retryable

Connect = Callable[..., socket.socket]


def open_session(settings: SmtpSettings, context: ssl.SSLContext | None, connect: Connect, clock: Clock) -> Session:
    """Connect, introduce ourselves, go over to TLS and sign in, within one time limit.

    Raises `Retryable` (nothing was accepted) for what passes: refused, no answer, 4xx; `Misconfigured` for what
    a person must mend: unknown host, certificate, credentials, 5xx.
    """
    host, port = settings.server
    where = f"{host}:{port}"
    try:
        connected = connect((host, port), timeout=settings.timeout)
    except (socket.gaierror, UnicodeError) as error:
        if getattr(error, "errno", None) == socket.EAI_AGAIN:
            raise Retryable(f"The name {host} could not be looked up just now.", accepted="no") from None
        raise Misconfigured(f"There is no host {host}: correct EVERGREET_SMTP_HOST.") from None
    except OSError as error:
        said_so = error.strerror or "no answer in time"
        raise Retryable(f"No connection to {where}: {said_so}.", accepted="no") from None
    session = Session(connected, helo=settings.helo or _our_name(connected), timeout=settings.timeout, clock=clock)
    try:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _open(session, settings, context)
    except ssl.SSLCertVerificationError as error:
        session.close()
        raise Misconfigured(
            f"The certificate of {where} cannot be trusted: {error.verify_message}. Correct EVERGREET_SMTP_HOST, "
            "or name the authority that issued it in EVERGREET_SMTP_CA_FILE."
        ) from None
    except smtplib.SMTPResponseException as error:
        session.close()
        answer = said(
            error.smtp_code, error.smtp_error if isinstance(error.smtp_error, bytes) else error.smtp_error.encode()
        )
        reason = _without_secrets(f"{where} does not let us in: {answer}", settings)
        if 500 <= error.smtp_code <= 599:
            raise Misconfigured(reason) from None
        raise Retryable(reason, accepted="no") from None
    except smtplib.SMTPServerDisconnected as error:
        session.close()
        raise Retryable(f"{where} was lost while the connection was opened: {error}.", accepted="no") from None
    except smtplib.SMTPException as error:
        session.close()
        raise Misconfigured(_without_secrets(f"{where} cannot be used: {error}", settings)) from None
    except OSError as error:
        session.close()
        if getattr(error, "reason", "") == "WRONG_VERSION_NUMBER":
            raise Misconfigured(
                f"{where} does not speak TLS from the start: set EVERGREET_SMTP_SECURITY to starttls, or another port."
            ) from None
        said_so = error.strerror or type(error).__name__
        raise Retryable(f"{where} was lost while the connection was opened: {said_so}.", accepted="no") from None
    session.opened()
    return session


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
    if "." in name.strip("."):
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
