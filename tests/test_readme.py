"""The README and what it leads to: every block runs, every link leads somewhere, the promise is the promise."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from evergreet.campaign import Options
from evergreet.database import Database, ingest_position, settled_position
from evergreet.registry import find_campaigns
from models import CampaignRow
from tests.conftest import NOW
from tests.documents import MAKE, ROOT, Block, Workplace, blocks, run_on_postgres

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/quickstart.md", "docs/operations.md", "docs/reliability.md")
PROMISE = (
    "At most one accepted send per ledger row, or a visible unknown row; a repeat only where you asked for it, and "
    "recorded; nobody who was due is missing from the ledger; every non-send has a reason."
)


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.timeout(600)
def test_every_code_block_runs(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    found = list(blocks(ROOT / name))
    fences = re.findall(r"^ *```", (ROOT / name).read_text("utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(found), "a fence is not closed"
    workplace = Workplace(tmp_path, lambda: str(request.getfixturevalue("fresh_postgres_url")))
    for block in found:
        workplace.run(block)


def test_its_campaign_is_the_real_one_without_its_options() -> None:
    (block,) = [block for block in blocks(ROOT / "README.md") if block.kind == "python"]
    shown: dict[str, Any] = {}
    exec(block.text, shown)
    real = find_campaigns("flows")["thank-you"]
    assert shown["campaign"].resolve(Options()) == real.campaign.resolve(real.options())


def test_it_names_campaigns_that_there_are_and_every_page() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    named = set(re.findall(r"^\| \[([a-z-]+)\]\(flows/", text, re.MULTILINE))
    assert len(named) >= 7
    assert named <= set(find_campaigns("flows"))  # one of your own need not be there
    assert [page.name for page in ROOT.glob("docs/*.md") if f"(docs/{page.name}" not in text] == []


def test_a_block_that_nothing_runs_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="nothing runs a block of kind 'yaml'"):
        Workplace(tmp_path, str).run(Block(1, "yaml", "a: 1\n"))


def test_a_block_that_goes_wrong_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="ended with 3"):
        Workplace(tmp_path, str).run(Block(1, "bash", "exit 3\ntrue\n"))


@pytest.mark.parametrize("name", ["README.md", "docs/reliability.md"])
def test_the_promise_stands_there_word_for_word(name: str) -> None:
    words = re.sub(r"\s+", " ", (ROOT / name).read_text("utf-8").replace("\n> ", "\n"))
    assert PROMISE in words


@pytest.mark.parametrize("path", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text("utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} leads to {target}, which is not there"


def test_the_stand_ins_for_make_cover_its_targets() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^\.PHONY: (\S+)", makefile, re.MULTILINE))
    assert set(MAKE) <= targets
    for target, module in (("demo", "evergreet.demo"), ("up", "evergreet.orchestration.up")):
        recipe = subprocess.check_output(["make", "-n", "-o", ".venv/.installed", target], cwd=ROOT, text=True)
        assert f"-m {module}" in recipe
        assert module in " ".join(MAKE[target])


def test_used_up_transaction_ids_let_a_restored_dump_go_on(fresh_postgres_url: str) -> None:
    """The statement of docs/operations.md, on cursors that lie ahead of the server."""
    (block,) = [block for block in blocks(ROOT / "docs" / "operations.md") if block.kind == "postgresql"]
    database = Database(fresh_postgres_url)
    with database.write() as connection:
        ahead = ingest_position(connection) + 500
        connection.execute(
            insert(CampaignRow).values(name="restored", state="live", scanned_to=ahead, created_at=NOW, state_reason="")
        )
    run_on_postgres(fresh_postgres_url, block.text)
    with database.read() as connection:
        assert ahead < settled_position(connection) < ahead + 400
    database.close()
