"""The bare limits: each part of the work alone and as quick as this machine does it, with nothing in between.

What is rendered is joined of pieces that were cut once; what is stored is one row in one table with a unique key; what
is handed over is ready octets on a raw socket to the same sink. Nothing is decided, read, checked or repeated.
"""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast

import orjson
from markupsafe import escape

from benchmarks import people
from benchmarks.bare import BATCH, Mail, environment, mime
from benchmarks.sinks import Sink
from benchmarks.stores import Store
from benchmarks.usage import using
from evergreet.settings import Settings
from evergreet.template_sources import TemplateSource

AT_MOST = 20_000
"""Messages that are enough to know a limit."""
SLOTS = ("first_name", "points", "order_id", "city", "tier", "unsubscribe_url", "amount")
MARKS = {name: chr(0xE000 + place) for place, name in enumerate(SLOTS)}
AMOUNT = 98765.43
"""Stands for an amount, which has to be a number where the template writes it down as money."""
TABLE = (
    "CREATE TABLE bare_ledger (campaign_id INTEGER NOT NULL, contact_id INTEGER NOT NULL, occurrence TEXT NOT NULL, "
    "address TEXT NOT NULL, state TEXT NOT NULL, sent_at TEXT NOT NULL, UNIQUE (campaign_id, contact_id, occurrence))"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """CPU µs a message of the three parts."""

    render: float
    store: float
    socket: float


def limits(count: int, source: TemplateSource, settings: Settings, sink: Sink, store: Store) -> Limits:
    """Measure the parts on as many messages, or on as many as are enough."""
    count = min(count, AT_MOST)
    pieces = Pieces(source, settings)
    with using(store) as rendering:
        for number in range(count):
            pieces.filled(number)
    store.settle_down()
    with using(store) as storing:
        _store(count, store)
    rendered, stored = rendering.client / count * 1e6, storing.per_message(count)
    hand_over = {"smtp": _smtp, "sendgrid": _sendgrid}.get(sink.kind)
    if hand_over is None:
        return Limits(rendered, stored, socket=0.0)
    with using(store) as sending:
        sent = hand_over(count, sink, settings, pieces)
    return Limits(rendered, stored, socket=sending.client / sent * 1e6)


class Pieces:
    """A message cut into what all have in common and slots between it; contacts without a name have another."""

    def __init__(self, source: TemplateSource, settings: Settings) -> None:
        jinja = environment(source, settings)
        self.variants = [
            [self._cut(jinja.get_template(f"{source.name}/{part}").render(_marked(named)))
             for part in ("subject.txt", "body.html", "body.txt")]
            for named in (False, True)
        ]  # fmt: skip

    @staticmethod
    def _cut(text: str) -> tuple[list[str], list[tuple[int, str]]]:
        names = {mark: name for name, mark in MARKS.items()}
        pieces = re.split(f"([{''.join(names)}])", text.replace(f"£{AMOUNT:,.2f}", MARKS["amount"]))
        return pieces, [(place, names[piece]) for place, piece in enumerate(pieces) if piece in names]

    def filled(self, number: int) -> tuple[str, str, str]:
        """Return subject, HTML and text of a contact's message."""
        values = self.values(number)
        made = []
        for pieces, slots in self.variants[bool(values["first_name"])]:
            parts = pieces.copy()
            for place, name in slots:
                parts[place] = values[name]
            made.append("".join(parts))
        return made[0], made[1], made[2]

    @staticmethod
    def values(number: int) -> dict[str, str]:
        """Return what a contact's message has in its slots."""
        person, order = people.person(number), people.order(number)
        return {
            "first_name": escape(person["first_name"] or ""), "points": str(person["points"]),
            "order_id": order["order_id"], "city": escape(person["city"].title()), "tier": person["tier"],
            "unsubscribe_url": f"https://example.org/u/{number}", "amount": f"£{order['amount']:,.2f}",
        }  # fmt: skip


def _marked(named: bool) -> dict[str, Any]:
    contact = {name: MARKS[name] for name in ("points", "city", "tier")} | {"last_name": None}
    return {
        "contact": contact | {"first_name": MARKS["first_name"] if named else None},
        "event": {"order_id": MARKS["order_id"], "amount": AMOUNT, "currency": "GBP"},
        "options": people.Picks().of_version(), "occurred_at": datetime.now(UTC),
        "unsubscribe_url": MARKS["unsubscribe_url"], "language": "en", "direction": "ltr",
    }  # fmt: skip


def _store(count: int, store: Store) -> None:
    """One row a message in one transaction: COPY where there is one, else an INSERT for all of them."""
    said = datetime.now(UTC).isoformat()
    rows = ((1, number, f"o{number}", people.address(number), "accepted", said) for number in range(count))
    with store.database.write() as connection:
        connection.exec_driver_sql(TABLE)
        driver: Any = connection.connection.driver_connection
        if store.kind == "sqlite":
            driver.executemany("INSERT INTO bare_ledger VALUES (?, ?, ?, ?, ?, ?)", rows)
            return
        with driver.cursor() as cursor, cursor.copy("COPY bare_ledger FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


def _smtp(count: int, sink: Sink, settings: Settings, pieces: Pieces) -> int:
    """One connection, pipelined: the next envelope goes with the message before it."""
    sender = settings.sender.partition("<")[2].strip(" >")
    mail = Mail("limit", people.address(0), *pieces.filled(0))
    envelope = f"MAIL FROM:<{sender}>\r\nRCPT TO:<{mail.to}>\r\nDATA\r\n".encode()
    message = mime(sender, mail) + b".\r\n"
    with _connected(sink.port) as (send, answers):
        answers.readline()
        send(b"HELO localhost\r\n")
        answers.readline()
        send(envelope)
        for number in range(count):
            for _ in range(3):
                answers.readline()
            send(message + envelope if number + 1 < count else message)
            answers.readline()
        send(b"QUIT\r\n")
    return count


def _sendgrid(count: int, sink: Sink, settings: Settings, pieces: Pieces) -> int:
    """One connection, a thousand recipients a request: the skeleton once, and what is in the slots."""
    body = orjson.dumps(
        {
            "from": {"email": settings.sender}, "subject": "-", "content": [{"type": "text/html", "value": "-" * 7000}],
            "personalizations": [
                {"to": [{"email": people.address(number)}], "custom_args": {"evergreet": f"limit {number:026}"},
                 "substitutions": pieces.values(number)}
                for number in range(BATCH)
            ],
        }
    )  # fmt: skip
    request = b"POST /v3/mail/send HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    requests = -(-count // BATCH)
    with _connected(sink.port) as (send, answers):
        for _ in range(requests):
            send(request)
            while answers.readline().strip():
                pass
    return requests * BATCH


@contextmanager
def _connected(port: int) -> Iterator[tuple[Callable[[bytes], Any], BinaryIO]]:
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as answers:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection.sendall, cast(BinaryIO, answers)
