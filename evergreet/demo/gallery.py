"""One HTML page to look at the mails of an outbox: a list, a search, the message; it needs no network."""

from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parsedate_to_datetime
from html import escape
from importlib.resources import files
from pathlib import Path

import orjson


def write_gallery(outbox: Path, page: Path, *, title: str) -> int:
    """Write the page for all `.eml` files below the folder, newest first; return how many there are."""
    mails = [_read(path, outbox) for path in outbox.rglob("*.eml")]
    mails.sort(key=lambda mail: (mail["sort"], mail["file"]), reverse=True)
    # `<` inside a script element could end it: JSON may write it as an escape instead.
    data = orjson.dumps(mails).decode().replace("<", "\\u003c")
    source = (files("evergreet.demo") / "mails.html").read_text("utf-8")
    filled = source.replace("{{title}}", escape(title)).replace("{{mails}}", data)
    page.write_text(filled, encoding="utf-8", newline="\n")
    return len(mails)


def _read(path: Path, outbox: Path) -> dict[str, str]:
    with path.open("rb") as file:
        message = BytesParser(EmailMessage, policy=policy.default).parse(file)
    to, subject = str(message["to"] or ""), str(message["subject"] or "")
    sent = parsedate_to_datetime(str(message["date"]))
    return {
        "file": path.relative_to(outbox).as_posix(),
        "to": to,
        "subject": subject,
        "date": sent.strftime("%a %d %b %Y, %H:%M %Z").strip(),
        "sort": sent.isoformat(),
        "html": _part(message, "html"),
        "text": _part(message, "plain"),
        "headers": "\n".join(f"{name}: {value}" for name, value in message.items()),
        "found_by": f"{to} {subject}".lower(),
    }


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    return str(part.get_content()) if part is not None else ""
