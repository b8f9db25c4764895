"""docs/add-a-connector.md: a stranger's connector is made as it says and passes the rules."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.documents import ROOT, Workplace, blocks

PAGE = ROOT / "docs" / "add-a-connector.md"


def install(folder: Path) -> None:
    """Leave what `pip install -e .` leaves of a package: its metadata, beside its modules."""
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))


@pytest.mark.timeout(600)
def test_the_connector_is_made_step_by_step(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path, str)
    for block in blocks(PAGE):
        workplace.run(block)
        if block.file == "pyproject.toml":
            install(tmp_path)
    assert "you@example.org" in (tmp_path / "spool.jsonl").read_text("utf-8")


def test_the_four_places_are_those_that_ours_have() -> None:
    rows = re.findall(r"^\| the [a-z ]+ \| (.*?) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(rows) == 4
    assert (ROOT / "connectors/email/smtp.py").is_file()
    assert 'entry-points."evergreet.connectors"' in (ROOT / "pyproject.toml").read_text("utf-8")
    assert (ROOT / "tests/connectors/email/test_contracts.py").is_file()
    assert (ROOT / "docs/connectors.md").is_file()
