"""The bare loop: the same mail without a ledger, as the measure of what the ledger costs.

One Jinja template object for all, the thinnest client of the sink, and one INSERT a message in one transaction at
the end. It knows no consent, no suppression and no second worker, and after a crash nobody knows who got what.
"""

import hashlib
import http.client
import smtplib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from jinja2 import Environment, FunctionLoader

from benchmarks import people
from benchmarks.sinks import Sink
from benchmarks.stores import Store
from evergreet import localization
from evergreet.composing import surroundings_of
from evergreet.settings import Settings
from evergreet.template_sources import TemplateSource

BATCH = 1000
TABLE = "CREATE TABLE bare (contact_id INTEGER NOT NULL, address TEXT NOT NULL, sent_at TEXT NOT NULL)"


@dataclass(frozen=True, slots=True)
class Mail:
    """One rendered message."""

    key: str
    to: str
    subject: str
    html: str
    text: str


def send_bare(count: int, source: TemplateSource, settings: Settings, sink: Sink, store: Store) -> int:
    """Render, hand over and write down `count` messages; return how many octets the last one's bodies have."""
    said = datetime.now(UTC).isoformat()
    sent: list[tuple[int, str, str]] = []
    size = 0
    with _client(sink, settings) as hand_over:
        batch: list[Mail] = []
        for mail in _mails(count, source, settings):
            batch.append(mail)
            sent.append((len(sent), mail.to, said))
            size = len(mail.html.encode()) + len(mail.text.encode())
            if len(batch) == BATCH:
                hand_over(batch)
                batch = []
        if batch:
            hand_over(batch)
    _write_down(sent, store)
    return size


def environment(source: TemplateSource, settings: Settings) -> Environment:
    """Return plain Jinja with the templates of a message and the filters they use."""
    jinja = Environment(
        loader=FunctionLoader(source.sources.get), autoescape=lambda name: bool(name) and str(name).endswith(".html"),
        extensions=["jinja2.ext.i18n", "jinja2.ext.loopcontrols"], trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    localization.install(jinja)
    jinja.globals.update(asdict(surroundings_of(settings)))
    return jinja


def _mails(count: int, source: TemplateSource, settings: Settings) -> Iterator[Mail]:
    jinja = environment(source, settings)
    subject, html, text = (
        jinja.get_template(f"{source.name}/{part}") for part in ("subject.txt", "body.html", "body.txt")
    )
    options = people.Picks().of_version()
    now = datetime.now(UTC)
    for number in range(count):
        values = {
            "contact": people.person(number), "event": people.order(number), "options": options, "occurred_at": now,
            "unsubscribe_url": f"{settings.public_url}/u/{number}", "language": "en", "direction": "ltr",
        }  # fmt: skip
        key = hashlib.blake2b(b"bare%d" % number, digest_size=16).hexdigest()
        yield Mail(key, people.address(number), subject.render(values), html.render(values), text.render(values))


@contextmanager
def _client(sink: Sink, settings: Settings) -> Iterator[Callable[[list[Mail]], Any]]:
    sender = settings.sender.partition("<")[2].strip(" >")
    if sink.kind == "smtp":
        with smtplib.SMTP("127.0.0.1", sink.port) as smtp:
            smtp.ehlo()
            yield lambda batch: [smtp.sendmail(sender, mail.to, mime(sender, mail)) for mail in batch]
    elif sink.kind == "sendgrid":
        http_client = http.client.HTTPConnection("127.0.0.1", sink.port)
        yield lambda batch: _post(http_client, sender, batch)
        http_client.close()
    else:
        yield lambda batch: None


def mime(sender: str, mail: Mail) -> bytes:
    """Return a message with two parts, put together by hand."""
    return (
        f"From: {sender}\r\nTo: {mail.to}\r\nSubject: {mail.subject}\r\nMessage-ID: <{mail.key}@bare>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        f"{mail.text}\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        f"{mail.html}\r\n--b--\r\n"
    ).encode()


def _post(client: http.client.HTTPConnection, sender: str, batch: list[Mail]) -> None:
    """One request for all: each one's whole bodies stand in its substitutions."""
    body = orjson.dumps(
        {
            "from": {"email": sender},
            "subject": "-subject-",
            "content": [{"type": "text/plain", "value": "-text-"}, {"type": "text/html", "value": "-html-"}],
            "personalizations": [
                {
                    "to": [{"email": mail.to}],
                    "custom_args": {"key": mail.key},
                    "substitutions": {"-subject-": mail.subject, "-text-": mail.text, "-html-": mail.html},
                }
                for mail in batch
            ],
        }
    )
    client.request("POST", "/v3/mail/send", body, {"Content-Type": "application/json", "Authorization": "Bearer x"})
    client.getresponse().read()


def _write_down(sent: list[tuple[int, str, str]], store: Store) -> None:
    """Insert one row a message in one transaction, by the driver itself."""
    with store.database.write() as connection:
        connection.exec_driver_sql(TABLE)
        place = "?" if store.kind == "sqlite" else "%s"
        connection.exec_driver_sql(f"INSERT INTO bare VALUES ({place}, {place}, {place})", sent)
