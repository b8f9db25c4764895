"""The messages and the pages as Chromium lays them out: phone to desktop, light and dark."""

from dataclasses import replace
from pathlib import Path

import pytest

from evergreet.localization import NOWHERE
from evergreet.preferences import Preferences
from evergreet.settings import Settings
from evergreet.web.pages import Pages
from tests.browser import measure
from tests.conftest import NOW
from tests.templates.test_messages import NAMES, rendered, sample

pytestmark = pytest.mark.browser
WIDTHS = [320, 390, 420, 600, 1200]


def looked_at() -> dict[str, str]:
    """All pages: as they should be, and with words that are far too long."""
    long = "Wolfeschlegelsteinhausenbergerdorff" * 3
    event = {"order_id": long, "amount": 1234567.89, "currency": "EUR",
             "items": [{"name": long, "quantity": 1200, "price": 99999.5}], "name": long, "description": long,
             "quantity": 1200, "price": 99999.5}  # fmt: skip
    picked = {"milestone": {"title": long, "text": long, "path": "/account"}}
    pages = Pages(Settings())
    shown = {name: rendered(name).html for name in NAMES}
    for name in NAMES:
        shown[f"{name}, long words"] = rendered(
            name, replace(sample(name), contact={"first_name": long}, event=event, picked=picked)
        ).html
    shown["ask"] = bytes(pages.ask("orders", "m•••@example.com", "t", NOWHERE).body).decode()
    shown["ask, long words"] = bytes(pages.ask(long, f"m•••@{long}.example", long, NOWHERE).body).decode()
    shown["done"] = bytes(pages.done("orders", "m•••@example.com", "t", NOWHERE, everything=False).body).decode()
    known = Preferences(1, None, None, None, {"news": True, "product_news": False, long: True}, NOW, 30, silenced=True)
    for name, saved, one in (("first", False, replace(known, topics={"news": True}, silenced=False, paused_until=None)),
                             ("all", True, known)):  # fmt: skip
        shown[f"preferences, {name}"] = bytes(
            pages.preferences(one, "m•••@example.com", NOWHERE, saved=saved).body
        ).decode()
    shown["message"] = bytes(pages.refused("Sorry.", 400, "").body).decode()
    return shown


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_they_fit_every_width_and_can_be_read_and_pressed(tmp_path: Path, dark: bool) -> None:
    seen = measure(tmp_path, looked_at(), WIDTHS, dark=dark)
    for page in seen:
        where = f"{page['name']} at {page['width']} px"
        assert page["scrolls"] <= page["width"], (where, page["wide"])
        assert page["wide"] == [], where
        assert page["faint"] == [], where
        assert page["small"] == [], where
        assert page["text"].strip(), where
    assert {page["background"] for page in seen} == {"18,25,22" if dark else "243,241,234"}
