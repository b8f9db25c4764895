"""docs/operations.md explains every state and every reason as the ledger has it."""

import re

from evergreet.balance import STATES
from evergreet.reasons import BEGINNINGS, REASONS
from tests.documents import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")


def rows(heading: str) -> list[tuple[str, str]]:
    """The first two cells of the table below a heading."""
    section = re.split(r"^##+ ", PAGE[PAGE.index(heading) + len(heading) :], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^\| `(.+?)` \| (.+?) \|", section, re.MULTILINE)


def test_every_reason_stands_there_with_its_sentence() -> None:
    beginnings = {f"{beginning.strip()} …": said for beginning, said in BEGINNINGS.items()}
    assert dict(rows("### Reasons")) == REASONS | beginnings


def test_every_state_of_a_message_stands_there() -> None:
    assert {state for state, _ in rows("## States of a message")} == set(STATES)
