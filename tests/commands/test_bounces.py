"""`evergreet bounces` as a person types it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evergreet.cli import app
from evergreet.errors import ConfigurationError
from evergreet.settings import settings
from tests.bounces.reports import VACATION, dsn


def evergreet(*words: str) -> str:
    result = CliRunner().invoke(app, ["bounces", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_maildir_is_read_and_what_is_asked_wrongly_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVERGREET_DATABASE_URL", "sqlite:///e.db")
    settings.cache_clear()
    try:
        for folder in ("new", "cur", "tmp"):
            (tmp_path / "bounces" / folder).mkdir(parents=True)
        (tmp_path / "bounces" / "new" / "1").write_bytes(dsn())
        (tmp_path / "bounces" / "new" / "2").write_bytes(VACATION)
        assert json.loads(evergreet("--maildir", "bounces", "--json")) == {
            "reports": 1, "others": 1, "told": 0, "not_ours": 1, "replies": 0,
        }  # fmt: skip
        assert evergreet("--maildir", "bounces") == (
            "0 reports tell of 0 of our messages, and of 0 recipients of none; 1 other mails were left as they are, "
            "0 of them answers of readers.\n"
        )
        for words, told in [
            ((), "either --maildir PATH, or --imap"),
            (("--imap", "--maildir", "bounces"), "either --maildir PATH, or --imap"),
            (("--imap",), "EVERGREET_BOUNCES_IMAP_HOST"),
            (("--maildir", "nowhere"), "is no Maildir"),
            (("--maildir", "bounces", "--connector", "sendgrid"), "by webhook, not by mail"),
        ]:
            with pytest.raises(ConfigurationError, match=told):
                evergreet(*words)
    finally:
        settings.cache_clear()
