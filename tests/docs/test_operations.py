"""docs/operations.md explains every state and every reason as the ledger has it."""

import re

from prefect.client.schemas.objects import StateType

from evergreet.balance import STATES
from evergreet.reasons import BEGINNINGS, REASONS
from models import CampaignRow
from tests.documents import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")


def rows(heading: str) -> list[tuple[str, str]]:
    """The first two cells of the table below a heading."""
    section = re.split(r"^##+ ", PAGE[PAGE.index(heading) + len(heading) :], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^\| `(.+?)` \| (.+?) \|", section, re.MULTILINE)


def test_every_reason_stands_there_with_its_sentence() -> None:
    beginnings = {f"{beginning.strip()} …": said for beginning, said in BEGINNINGS.items()}
    assert dict(rows("### Reasons")) == REASONS | beginnings


def test_every_state_of_a_message_and_of_a_campaign_stands_there() -> None:
    assert {state for state, _ in rows("## States of a message")} == set(STATES)
    (check,) = (str(rule.sqltext) for rule in CampaignRow.__table__.constraints if rule.name == "ck_campaign_state")  # type: ignore[attr-defined]
    kept_for_later = {"archived"}
    assert {state for state, _ in rows("## States of a campaign")} == set(
        re.findall(r"'(\w+)'", check)
    ) - kept_for_later


def test_every_state_that_prefect_gives_a_run_stands_there() -> None:
    """Late is a name of Scheduled; a run of ours is never suspended: nothing in it waits for input."""
    section = PAGE[PAGE.index("| state of a run |") : PAGE.index("## States of a campaign")]
    told = {
        word.upper()
        for cell in re.findall(r"^\| (\*.*?) \|", section, re.MULTILINE)
        for word in re.findall(r"\*(\w+)\*", cell)
    }
    assert told - {"LATE"} == {state.name for state in StateType} - {"PAUSED"}
