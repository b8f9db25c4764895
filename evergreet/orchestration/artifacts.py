"""What a run leaves for people: one page in markdown with the balance, the reasons and where to look."""

from collections.abc import Iterable, Mapping

from prefect.artifacts import acreate_markdown_artifact

from evergreet.balance import Report


async def leave_page(key: str, markdown: str) -> None:
    """Attach a page to the present run; the newest page of a key shows first in the UI."""
    await acreate_markdown_artifact(markdown, key=key)


WORD_BY_FORM = "Or run this deployment with what is to be confirmed in its form: `confirm` and `recipients`."


def campaign_page(report: Report, waiting: str | None = None) -> str:
    """Write the page of one campaign run; `waiting` says which broadcasts wait for somebody's word."""
    balance = report.balance
    rows = {
        "accepted": balance.accepted,
        "skipped": balance.skipped,
        "deferred": balance.deferred,
        "pending": balance.pending,
        "failed": balance.failed,
        "unknown": balance.unknown,
        "**due**": balance.due,
    }
    parts = [
        f"# {report.campaign}: {count(balance.accepted, 'message')} accepted of {balance.due:,} due",
        *(["A rehearsal: nothing was stored or sent; pending is what would be sent."] if report.dry_run else []),
        *([f"**Halted: {one_line(report.halted)}**"] if report.halted else []),
        *([f"**{one_line(waiting)}**", WORD_BY_FORM] if waiting else []),
        *(f"**{name} cannot be asked: {one_line(said)}**" for name, said in report.providers.items()),
        *(f"**{one_line(warning)}**" for warning in report.warnings),
        _this_run(report),
        table(("", "messages"), rows.items()),
        "due = accepted + skipped + deferred + pending + failed + unknown",
    ]
    if report.reasons:
        ranked = sorted(report.reasons.items(), key=lambda item: (-item[1], item[0]))
        parts += ["## Why not sent", table(("reason", "messages"), ranked)]
    parts += ["## Where to look", bullets(where_to_look(report))]
    return "\n\n".join(parts) + "\n"


def _this_run(report: Report) -> str:
    shards = ", ".join(f"{run} {state}" for run, state in report.shards.items())
    did = [f"{number:,} {outcome}" for outcome, number in sorted(report.attempted.items())]
    beside = f", with {count(len(report.shards), 'shard')}: {shards}" if report.shards else ""
    name = "This rehearsal" if report.run_id is None else f"This run (number {report.run_id} in the ledger{beside})"
    return (
        f"{name} enrolled {report.enrolled:,}, found {report.excluded:,} outside the audience and planned "
        f"{report.planned:,}; its hand-overs: {', '.join(did) or 'none'}." + (" Work is left." if report.more else "")
    )


def where_to_look(report: Report) -> list[str]:
    """Say which command shows more, and which mends what this run ran into."""
    name, balance = report.campaign, report.balance
    hints = ["`evergreet campaigns`: state and balance of every campaign"]
    if report.halted and report.state == "live":
        hints.append("`evergreet connectors check`: whether mail can be sent; the next run tries again")
    elif report.halted:
        hints.append(f"`evergreet resume {name}`: go on, unless it is paused in Prefect; then resume its deployment")
    if report.providers:
        hints.append(
            "`evergreet connectors status`: which providers are asked; `evergreet connectors resume NAME`: at once"
        )
    if balance.failed:
        hints.append(f"`evergreet retry {name} --state failed`: count the failed messages, then try them again")
    if balance.unknown:
        hints.append("`evergreet reconcile`: ask the provider about messages whose fate is unknown")
    if balance.pending:
        hints.append("`evergreet workers`: who is working on the pending messages; the next run takes them up")
    hints.append("`evergreet audit`: recount what was due, independently of the ledger")
    return hints


def failure_page(name: str, cause: str) -> str:
    """Write the page of a run that failed."""
    return "\n\n".join(
        (
            f"# {name}: failed",
            f"**{one_line(cause)}**",
            "Nothing is lost: what was due stays in the ledger and the next run takes it up.",
            "## Where to look",
            bullets(
                [
                    "`evergreet connectors check`: whether mail can be sent",
                    "`evergreet audit`: whether the ledger holds",
                ]
            ),
        )
    )


def table(head: tuple[str, str], rows: Iterable[tuple[str, int]]) -> str:
    """Write a table of words and counts."""
    lines = [f"| {head[0]} | {head[1]} |", "| --- | ---: |"]
    lines += [f"| {cell(word)} | {number:,} |" for word, number in rows]
    return "\n".join(lines)


def mapping_table(head: tuple[str, str], rows: Mapping[str, str]) -> str:
    """Write a table of words and sentences."""
    return "\n".join(
        [
            f"| {head[0]} | {head[1]} |",
            "| --- | --- |",
            *(f"| {cell(word)} | {cell(text)} |" for word, text in rows.items()),
        ]
    )


def bullets(lines: Iterable[str]) -> str:
    """Write a list."""
    return "\n".join(f"- {line}" for line in lines)


def count(number: int, noun: str) -> str:
    """Write a number with its noun: 1 message, 2 messages."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def cell(text: str) -> str:
    """Keep a text inside its table cell."""
    return one_line(text).replace("|", "\\|")


def one_line(text: str) -> str:
    """Put a text on one line."""
    return " ".join(text.split())
