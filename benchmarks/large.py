"""Files to import, as large as wanted and always the same: `python -m benchmarks.large FOLDER CONTACTS EVENTS [jsonl]`.

Contacts have an address, a name, a place, attributes and a consent; events come in the order of time, as a log does,
from contacts in no order, spread over the days before `UNTIL`. A tenth of them are orders with an amount.
"""

import csv
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import orjson

from benchmarks.people import LOCALES, ZONES, address, person

Format = Literal["csv", "jsonl"]

UNTIL = datetime(2026, 3, 1, tzinfo=UTC)
"""No event is later."""
DAYS = 120
NAMES = ("login",) * 8 + ("page_viewed",) * 7 + ("cart_updated",) * 3 + ("order_placed",) * 2
"""What happens, as often as it stands here."""
_SCATTER = 2_654_435_761
"""A prime: contacts that are neighbours in the log are far apart in the file of contacts."""
_BELOW = 4_294_967_291


@dataclass(frozen=True, slots=True)
class Files:
    """Where the files are."""

    contacts: Path
    events: Path


def write_files(folder: Path, contacts: int, events: int, form: Format = "csv") -> Files:
    """Write both files into a folder; about 5 µs a row."""
    files = Files(folder / f"contacts-{contacts}.{form}", folder / f"events-{contacts}-{events}.{form}")
    _write(files.contacts, contact_rows(contacts), form)
    _write(files.events, event_rows(contacts, events), form)
    return files


def contact_rows(contacts: int) -> Iterator[dict[str, Any]]:
    """Give the contacts one by one."""
    for number in range(contacts):
        yield {
            "source_id": f"c{number:08}", "email": address(number), **person(number),
            "locale": LOCALES[number % len(LOCALES)], "timezone": ZONES[number % len(ZONES)],
            "created_at": f"2025-{1 + number % 12:02}-{1 + number % 28:02}T08:{number % 60:02}:00Z",
            "consent.news": "yes" if number % 3 else "no",
        }  # fmt: skip


def event_rows(contacts: int, events: int) -> Iterator[dict[str, Any]]:
    """Give the events one by one, the oldest first."""
    start = UNTIL - timedelta(days=DAYS)
    apart = timedelta(days=DAYS) / events
    for number in range(events):
        scattered = number * _SCATTER % _BELOW
        name = NAMES[scattered % len(NAMES)]
        bought = name == "order_placed"
        yield {
            "source_id": f"e{number:09}", "name": name, "contact": f"c{scattered // 32 % contacts:08}",
            "occurred_at": (start + number * apart).isoformat(timespec="seconds"),
            "order_id": f"FW-{number:09}" if bought else None,
            "amount": 12.5 + scattered % 400 if bought else None,
            "channel": "app" if scattered % 3 else "web",
        }  # fmt: skip


def _write(path: Path, rows: Iterable[dict[str, Any]], form: Format) -> None:
    if form == "jsonl":
        with path.open("wb") as file:
            file.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
        return
    with path.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        for number, row in enumerate(rows):
            if not number:
                writer.writerow(row)
            writer.writerow(row.values())


def main() -> None:
    folder, contacts, events, *form = sys.argv[1:]
    print(write_files(Path(folder), int(contacts), int(events), "jsonl" if form == ["jsonl"] else "csv"))


if __name__ == "__main__":
    main()
