"""The campaign commands as a person types them, on the embedded default."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert
from typer.testing import CliRunner, Result

from evergreet.balance import Balance, Report
from evergreet.cli import app
from evergreet.clock import FrozenClock
from evergreet.commands.opening import parse_moment, parse_since
from evergreet.commands.printing import print_report
from evergreet.database import Database
from evergreet.errors import ConfigurationError, DataError, EvergreetError
from evergreet.presets import vocabulary
from evergreet.settings import settings
from evergreet.template_sources import template_root
from models import AuditLog, CampaignRow, Consent
from tests.story import Story


@pytest.fixture
def store(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Story:
    """The database that the commands open, at the present time."""
    monkeypatch.setenv("EVERGREET_DATABASE_URL", sqlite_url)
    return Story(Database(sqlite_url), FrozenClock(datetime.now(UTC)))


def evergreet(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def said(*words: str) -> str:
    result = evergreet(*words)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_cap_on_a_topic_that_no_campaign_has_is_told_at_the_launch(
    store: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "EVERGREET_TOPIC_CAPS", '{"order": {"messages": 1, "days": 7}, "offers": {"messages": 1, "days": 7}}'
    )
    launched = evergreet("launch", "thank-you")
    assert "EVERGREET_TOPIC_CAPS: no campaign has the topic 'order', so its cap counts nothing" in launched.stderr
    assert "'offers'" not in launched.stderr
    assert "thank-you is live since" in launched.stdout
    assert store.messages == []


def test_a_campaign_with_a_step_that_would_never_go_is_not_launched(
    store: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREET_QUIET_FROM", "07:30")
    monkeypatch.setenv("EVERGREET_QUIET_UNTIL", "22:00")
    with pytest.raises(ConfigurationError, match="'abandoned-cart', step 'reminder': it would never go"):
        raise evergreet("launch", "abandoned-cart").exception or AssertionError
    assert store.rows(CampaignRow) == []


def test_a_campaign_from_launch_to_stop(store: Story, tmp_path: Path) -> None:
    assert "thank-you is live since" in said("launch", "thank-you")
    ana = store.contact("ana")
    store.happened("order_placed", ana, order_id="A-1", amount=20, currency="EUR", at=datetime.now(UTC))
    assert "Nothing was stored" in said("run", "thank-you", "--dry-run")
    report = json.loads(evergreet("run", "thank-you", "--json").stdout)  # progress is told on the other stream
    assert report["attempted"] == {"accepted": 1}
    assert report["balance"]["due"] == report["balance"]["accepted"] == 1
    assert len(list((tmp_path / ".evergreet/outbox/new").glob("*.eml"))) == 1
    assert "This run: nothing to send." in said("run", "thank-you")
    assert "receipt: accepted" in said("explain", "thank-you", "ana@example.org")
    (listed,) = json.loads(said("campaigns", "--json"))
    assert (listed["name"], listed["state"], listed["due_now"]) == ("thank-you", "live", False)
    said("pause", "thank-you", "--reason", "wrong link")
    halted = evergreet("run", "thank-you")
    assert halted.exit_code == 1
    assert "the campaign is paused (wrong link)" in halted.output
    said("resume", "thank-you")
    said("stop", "thank-you")
    assert [row.action for row in store.rows(AuditLog)] == [
        "campaign live", "campaign paused", "campaign live", "campaign stopped",
    ]  # fmt: skip


def test_a_campaign_says_what_it_does_by_its_file_and_once_it_is_live_by_the_ledger(store: Story) -> None:
    assert "review-request: never launched" in said("campaigns", "show", "review-request")
    found = json.loads(said("campaigns", "show", "review-request", "--json"))
    assert ["starts", "at order_completed, once for each order_id"] in found["does"]
    assert found["options"]["days_after"] == 14
    said("launch", "review-request")
    shown = said("campaigns", "show", "review-request")
    assert "review-request: live" in shown
    assert "--set hour" in shown
    wrong = evergreet("campaigns", "show", "review-reqest")
    assert isinstance(wrong.exception, EvergreetError)
    assert "There is no campaign 'review-reqest'" in str(wrong.exception)


def test_an_event_that_looks_misspelt_is_asked_about_as_long_as_nobody_tells_it(
    store: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "KNOWN", frozenset({"profile_complete", "account_created"}))
    question = "Look at 'profile_completed': no such event was told yet; did you mean profile_complete?"
    assert question in said("launch", "onboarding-nudges")
    store.happened("profile_completed", store.contact("ana"))
    assert "Look at" not in said("launch", "onboarding-nudges")


def test_history_is_counted_and_confirmed_with_the_line_that_is_printed(store: Story) -> None:
    store.happened("order_placed", *store.contacts(3), at=store.now - timedelta(days=3))
    output = said("launch", "thank-you", "--backfill", "10d")
    assert "3 enrollments would be made" in output
    command = output.split("Confirm with: evergreet ")[1].split()
    assert "3 enrollments were made" in said(*command)
    with store.database.write() as connection:
        connection.execute(
            insert(Consent), [{"contact_id": 1, "topic": "orders", "granted": True, "at": store.now, "source": "t"}]
        )
    report = json.loads(evergreet("run", "thank-you", "--json").stdout)  # progress is told on the other stream
    assert report["reasons"] == {"skipped: too_late": 3}


def test_options_are_set_by_name_and_checked(store: Story) -> None:
    said("launch", "thank-you")
    said("run", "thank-you", "--set", "check_in_hour=9")
    wrong = evergreet("run", "thank-you", "--set", "check_in_hour=24")
    assert isinstance(wrong.exception, EvergreetError)
    assert "check_in_hour: Input should be less than or equal to 23" in str(wrong.exception)
    unknown = evergreet("run", "thank-you", "--set", "discount=10")
    assert "Options of thank-you: dry_run" in str(unknown.exception)


def test_a_wrong_name_is_answered_with_the_names_there_are(store: Story) -> None:
    assert "flows has: " in str(evergreet("run", "thank-yuo").exception)
    assert "is not in the ledger yet" in str(evergreet("pause", "thank-you").exception)


def test_a_test_send_reaches_the_address_and_not_the_ledger(store: Story, tmp_path: Path) -> None:
    said("launch", "thank-you")
    output = said("send-test", "thank-you", "--to", "me@example.org", "--step", "receipt")
    assert output.startswith("receipt: accepted for me@example.org by outbox")
    (mail,) = (tmp_path / ".evergreet/outbox/new").glob("*.eml")
    assert b"To: me@example.org" in mail.read_bytes()
    assert store.messages == []
    assert "not an email address" in str(evergreet("send-test", "thank-you", "--to", "me").exception)
    assert "has the steps receipt, check-in" in str(
        evergreet("send-test", "thank-you", "--to", "me@example.org", "--step", "x").exception
    )


def test_a_test_send_sends_nothing_where_one_step_cannot_be_made(
    store: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(template_root("templates") / "thank_you", tmp_path / "acme" / "thank_you")
    (tmp_path / "acme" / "thank_you" / "check_in" / "subject.txt").write_text("\n{{ contact.shoe_size }}", "utf-8")
    monkeypatch.setenv("EVERGREET_TEMPLATES", str(tmp_path / "acme"))
    settings.cache_clear()
    answer = evergreet("send-test", "thank-you", "--to", "me@example.org")
    assert "thank_you/check_in/subject.txt, line 2: there is no 'shoe_size' here" in str(answer.exception)
    assert not list((tmp_path / ".evergreet").glob("outbox/new/*"))


def test_times_are_read_as_people_write_them() -> None:
    now = datetime(2026, 3, 10, 12, tzinfo=UTC)
    assert parse_moment("30d", now) == now - timedelta(days=30)
    assert parse_moment("2026-01-31", now) == datetime(2026, 1, 31, tzinfo=UTC)
    assert f"{parse_moment('2026-01-31T10:00:00+02:00', now):%F %H:%M}" == "2026-01-31 08:00", "shown as UTC"
    for written in ("yesterday", "9999999d", "9" * 30 + "h", "0001-01-01T00:00+10:00"):
        with pytest.raises(DataError, match="is not a time"):
            parse_moment(written, now)
    assert parse_since("2026-03-10T13:00:00+01:00", now) == now
    with pytest.raises(DataError, match="'2026-03-11' lies in the future: it is 2026-03-10 12:00 UTC now"):
        parse_since("2026-03-11", now)


def test_brackets_in_what_a_provider_said_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    said = "550 [/HLO] go away [red]"
    print_report(Report("thanks", 1, "live", Balance(failed=1), {f"failed: {said}": 1}, halted=said))
    assert capsys.readouterr().out.count(said) == 2
