"""One event by hand: what no store could hold is refused with a sentence, and nothing is stored."""

from typing import Any

import pytest

from evergreet.errors import DataError
from evergreet.importing.one_event import record_event
from models import Event
from tests.story import Story


@pytest.mark.parametrize("place", ["name", "source", "source_id"])
@pytest.mark.parametrize(("broken", "says"), [("a\x00b", "NUL character"), ("a\ud800", "half a character")])
def test_what_no_store_can_hold_is_refused(story: Story, place: str, broken: str, says: str) -> None:
    given: dict[str, Any] = {"name": "product_launched", "source": "shop", "source_id": "P-1"} | {place: broken}
    with pytest.raises(DataError, match=rf"^The event was not stored: .*{says}"):
        record_event(
            story.database, given["name"], {}, contact=None, source=given["source"], source_id=given["source_id"],
            at=None, clock=story.clock,
        )  # fmt: skip
    assert story.rows(Event) == []
