"""What the sample shop brings to market, and when: facts about the business, without a customer."""

from datetime import datetime, timedelta
from pathlib import Path

import orjson

LAUNCHES = (
    ("FW-HAMMOCK", "Cotton hammock", "Woven in one piece, with room for two and a book.", 69.0),
    ("FW-COLDFRAME", "Cedar cold frame", "Lettuce in March: untreated cedar and a lid that stays open.", 129.0),
    (
        "FW-HEADLAMP",
        "Rechargeable headlamp",
        "Forty hours on low, and a red light that leaves the others asleep.",
        42.0,
    ),
    ("FW-COMPOST", "Kitchen compost caddy", "Enamelled steel, a lid that closes, and no smell.", 34.0),
    ("FW-SLEDGE", "Ash toboggan", "Steam-bent ash and steel runners, for the one week of snow.", 95.0),
    ("FW-SHEARS", "Japanese topiary shears", "Hand-forged, light, and sharp for years.", 58.0),
)
"""Stock number, name, what is said about it, price in pounds."""


def write_launches(path: Path, until: datetime, span: timedelta) -> None:
    """Write the launches as events, on working days spread over the span before `until`."""
    lines = []
    for number, (sku, name, description, price) in enumerate(LAUNCHES):
        day = until - span + span * (number + 0.7) / len(LAUNCHES)
        while day.weekday() > 4:
            day += timedelta(days=1)
        at = day.replace(hour=9, minute=0, second=0, microsecond=0)
        properties = {
            "product_id": sku, "name": name, "description": description, "path": f"/products/{sku.lower()}",
            "price": price, "currency": "GBP",
        }  # fmt: skip
        row = {"source_id": f"L{number:03d}", "name": "product_launched", "occurred_at": at, "properties": properties}
        if at <= until:
            lines.append(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    path.write_bytes(b"".join(lines))
