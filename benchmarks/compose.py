"""CPU time of making one message, once the ways through its template are known: `python benchmarks/compose.py`.

Contacts of five languages and zones, one in ten without a name, each with an order of their own.
"""

import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

from evergreet import composing
from evergreet.campaign import MARKETING, Email
from evergreet.composing import Composer, Letter
from evergreet.preview import read_sample
from evergreet.settings import Settings
from evergreet.template_sources import load_template, template_names
from evergreet.tokens import Tokens

NAMES = ["Maya", "O'Neil", "Zoë & Co", "نور", "Max"]
PLACES = [("en_GB", "Europe/London"), ("en_US", "America/New_York"), ("de_DE", "Europe/Berlin"),
          ("fr_FR", "Europe/Paris"), ("ar_EG", "Africa/Cairo")]  # fmt: skip
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
COUNT = 5000


def letters(sample: Any) -> list[Letter]:
    chance = random.Random(1)
    made = []
    for n in range(1, COUNT + 1):
        locale, zone = chance.choice(PLACES)
        contact = dict(sample.contact, id=n, email=f"c{n}@example.com", locale=locale, timezone=zone)
        contact["first_name"] = chance.choice(NAMES) if n % 10 else None
        event = dict(sample.event, order_id=f"A-{n}", amount=n / 7)
        occurred_at = sample.occurred_at + timedelta(hours=n)
        key = f"event:{n}"
        made.append(
            Letter(n, n, NOW, contact, contact["email"], f"shop:{n}", key, "step", occurred_at, event, sample.picked)
        )
    return made


def microseconds(action: Callable[[Letter], Any], those: list[Letter]) -> float:
    begun = time.process_time()
    for letter in those:
        action(letter)
    return (time.process_time() - begun) / len(those) * 1e6


def measure(name: str, settings: Settings) -> None:
    sample, _ = read_sample(settings.templates, name, settings)
    source = load_template(settings.templates, name)
    campaign = SimpleNamespace(name="benchmark", topic="orders")
    version = SimpleNamespace(campaign=campaign, templates={name: "hash"}, options=sample.options)
    with patch.object(composing, "template_source", lambda *_: source):
        step = Email("step", name, purpose=MARKETING)
        composer = Composer(cast(Any, None), cast(Any, version), step, settings, Tokens(["k" * 32]))
    those = letters(sample)
    for letter in those[:500]:
        composer.compose(letter, NOW)
    before = composer.renderer.full
    fast = microseconds(lambda letter: composer.compose(letter, NOW), those)
    in_full = composer.renderer.full - before
    linked = replace(sample, unsubscribe_url="https://mail.example/u/WzEsIm9yZGVycyJd.abc")
    full = microseconds(
        lambda letter: composer.renderer.render_in_full(replace(linked, contact=letter.contact, event=letter.event)),
        those[:300],
    )
    print(f"{name:40}{fast:9.1f}{full:12.0f}{in_full:14}")


def main() -> None:
    settings = Settings()
    print(f"CPU µs a message, of {COUNT}\n{'template':40}{'compose':>9}{'full Jinja':>12}{'were in full':>14}")
    for name in sys.argv[1:] or template_names(settings.templates):
        measure(name, settings)


if __name__ == "__main__":
    main()
