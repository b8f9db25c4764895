"""The pages that runs leave."""

from dataclasses import replace
from datetime import UTC, datetime

from evergreet.balance import Balance, Report
from evergreet.orchestration.artifacts import campaign_page, failure_page, where_to_look
from evergreet.orchestration.reconcile import page
from evergreet.reconcile import Reconciled
from evergreet.resolutions import Doubts, Held, Resolved

REPORT = Report(
    campaign="thank-you",
    run_id=7,
    state="live",
    balance=Balance(accepted=1200, skipped=30, deferred=4, planned=2, sending=1, failed=5, unknown=6),
    reasons={"skipped: suppressed": 20, "skipped: no_consent": 10, "failed: a | pipe\nand a line": 5},
    enrolled=1240,
    excluded=12,
    planned=1248,
    attempted={"accepted": 1200, "failed": 5},
)


def test_the_page_adds_up_to_what_was_due() -> None:
    lines = campaign_page(REPORT).splitlines()
    figures = {}
    for line in lines[lines.index("|  | messages |") + 2 :]:
        if not line.startswith("|"):
            break
        word, number = (part.strip() for part in line.strip("|").split("|"))
        figures[word] = int(number.replace(",", ""))
    due = figures.pop("**due**")
    assert figures == {"accepted": 1200, "skipped": 30, "deferred": 4, "pending": 3, "failed": 5, "unknown": 6}
    assert sum(figures.values()) == due == REPORT.balance.due


def test_reasons_stand_by_weight_and_stay_in_their_cells() -> None:
    text = campaign_page(REPORT)
    rows = text[text.index("## Why not sent") : text.index("## Where to look")].split("\n")[4:7]
    assert rows == [
        "| skipped: suppressed | 20 |",
        "| skipped: no_consent | 10 |",
        "| failed: a \\| pipe and a line | 5 |",
    ]


def test_a_hint_stands_only_where_it_helps() -> None:
    calm = replace(REPORT, balance=Balance(accepted=3), reasons={})
    assert [hint.partition("`:")[0] for hint in where_to_look(calm)] == ["`evergreet campaigns", "`evergreet audit"]
    assert [hint.partition("`:")[0] for hint in where_to_look(REPORT)] == [
        "`evergreet campaigns",
        "`evergreet retry thank-you --state failed",
        "`evergreet reconcile",
        "`evergreet workers",
        "`evergreet audit",
    ]


def test_a_halted_run_says_so_first() -> None:
    refused = campaign_page(replace(REPORT, halted="smtp: 535 who\nare you?"))
    assert refused.splitlines()[2] == "**Halted: smtp: 535 who are you?**"
    assert "`evergreet connectors check`" in refused
    paused = campaign_page(replace(REPORT, state="paused", halted="the campaign is paused"))
    assert "`evergreet resume thank-you`" in paused


def test_a_rehearsal_says_that_nothing_was_sent() -> None:
    text = campaign_page(replace(REPORT, run_id=None, dry_run=True, attempted={}))
    assert "A rehearsal: nothing was stored or sent" in text
    assert "hand-overs: none." in text


def test_the_page_of_a_run_with_shards_names_them() -> None:
    assert "(number 7 in the ledger), with" not in campaign_page(REPORT)
    text = campaign_page(replace(REPORT, shards={8: "completed", 9: "crashed"}))
    assert "This run (number 7 in the ledger, with 2 shards: 8 completed, 9 crashed) enrolled" in text


def test_a_failure_is_one_line() -> None:
    text = failure_page("thank-you", "No connection:\n  refused")
    assert text.startswith("# thank-you: failed\n\n**No connection: refused**\n")


def test_reconcile_counts_what_is_left() -> None:
    at = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
    ledger = Doubts(
        [Resolved("thank-you", "receipt", "webhook", 40, at)],
        [Held("thank-you", "receipt", "cut | off", "smtp", 1, at, "nothing by itself")],
    )
    text = page(Reconciled({"found": 3}, unknown=1), ledger)
    assert "| thank-you, receipt: webhook | 40 |" in text
    assert "| thank-you, receipt, since 2026-03-10 12:00 UTC: cut \\| off; nothing by itself | 1 |" in text
    assert text.startswith("# 1 message of unknown fate")
    assert "| found | 3 |" in text
    assert "`evergreet reconcile`" in text
