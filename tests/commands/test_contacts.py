"""`evergreet contacts`: merge, list, take apart."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from evergreet.cli import app
from evergreet.database import Database
from tests.contacts import add_contact


def evergreet(*arguments: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(app, arguments)


def test_who_has_one_address_is_counted_merged_listed_and_taken_apart(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EVERGREET_DATABASE_URL", sqlite_url)
    monkeypatch.chdir(tmp_path)
    database = Database(sqlite_url)
    with database.write() as connection:
        for source in ("shop", "till"):
            add_contact(connection, source=source, source_id="7", attributes={f"from_{source}": 1})
        add_contact(connection, "lee@example.com")
    database.close()
    assert evergreet("contacts", "merges").output == "Nobody was merged.\n"
    assert "--confirm 1" in evergreet("contacts", "merge").output
    assert "1 contact would be merged, not 2" in str(evergreet("contacts", "merge", "--confirm", "2").exception)
    assert evergreet("contacts", "merge", "--confirm", "1").output == "1 contact was merged.\n"
    (told,) = json.loads(evergreet("contacts", "merges", "maya@example.com", "--json").output)
    assert (told["survivor"], told["loser"], told["changed"]) == (1, 2, ["attributes"])
    assert evergreet("contacts", "merge", "lee@example.com", "maya@example.com").exit_code == 0
    listed = evergreet("contacts", "merges").output
    assert "till 7 (contact 2) is contact 1: they have one address" in listed
    assert "(contact 3) is contact 1: somebody said so" in listed
    assert "evergreet contacts merge CONTACT INTO" in str(evergreet("contacts", "merge", "1").exception)
    assert evergreet("contacts", "unmerge", "1").output == "Contact 2 stands for itself again.\n"
    assert "was undone on" in str(evergreet("contacts", "unmerge", "1").exception)
    assert "no merge 9" in str(evergreet("contacts", "unmerge", "9").exception)
    assert evergreet("contacts", "unmerge", str(2**63)).exit_code == 2  # no database has so large a number
