"""One HTML page to look at the mails of an outbox: a list, a search, the message; it needs no network."""

from collections import defaultdict
from datetime import datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser, BytesParser
from email.utils import parsedate_to_datetime
from html import escape
from importlib.resources import files
from pathlib import Path

import orjson

OF_EACH_KIND = 25
"""So many mails of each step of each campaign are on the page: some thousand would be too much for a browser."""


def write_gallery(outbox: Path, page: Path, *, title: str) -> tuple[int, int]:
    """Write the page for the `.eml` files below the folder, newest first; return how many there are, and are shown."""
    files_found = [(kind_of(path), path) for path in outbox.rglob("*.eml")]
    kinds: defaultdict[str, list[tuple[datetime, Path]]] = defaultdict(list)
    for (kind, sent), path in files_found:
        kinds[kind].append((sent, path))
    newest = [(path, kind) for kind, found in kinds.items() for _, path in sorted(found, reverse=True)[:OF_EACH_KIND]]
    mails = [_read(path, outbox, kind) for path, kind in newest]
    mails.sort(key=lambda mail: (mail["sort"], mail["file"]), reverse=True)
    # `<` inside a script element could end it: JSON may write it as an escape instead.
    data = orjson.dumps(mails).decode().replace("<", "\\u003c")
    source = (files("evergreet.demo") / "mails.html").read_text("utf-8")
    filled = source.replace("{{title}}", escape(title)).replace("{{mails}}", data)
    page.write_text(filled, encoding="utf-8", newline="\n")
    return len(files_found), len(mails)


def kind_of(path: Path) -> tuple[str, datetime]:
    """Return the step and campaign that a mail is from, and when it was sent; its head is enough."""
    with path.open("rb") as file:
        head = BytesHeaderParser(EmailMessage, policy=policy.default).parse(file)
    step, campaign = [*str(head["feedback-id"] or "").split(":"), "", ""][:2]
    return f"{campaign}/{step}", parsedate_to_datetime(str(head["date"]))


def _read(path: Path, outbox: Path, kind: str) -> dict[str, str]:
    with path.open("rb") as file:
        message = BytesParser(EmailMessage, policy=policy.default).parse(file)
    to, subject = str(message["to"] or ""), str(message["subject"] or "")
    sent = parsedate_to_datetime(str(message["date"]))
    return {
        "file": path.relative_to(outbox).as_posix(),
        "to": to,
        "subject": subject,
        "kind": kind.replace("/", ", ").strip(", "),
        "date": sent.strftime("%d %b %Y, %H:%M %Z").strip(),
        "sort": sent.isoformat(),
        "html": _part(message, "html"),
        "text": _part(message, "plain"),
        "headers": "\n".join(f"{name}: {value}" for name, value in message.items()),
        "found_by": f"{to} {subject} {kind}".lower(),
    }


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    return str(part.get_content()) if part is not None else ""
