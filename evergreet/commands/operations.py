"""The ledger, for operators: audit, workers, reconcile, retry, hold."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from evergreet.resolutions import Doubts

app = typer.Typer()

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Confirm = Annotated[int | None, typer.Option(help="The count that the command printed without it.")]


@app.command()
def audit(
    campaign: Annotated[str | None, typer.Option(help="Only this campaign, as `evergreet campaigns` lists it.")] = None,
    json: Json = False,
) -> None:
    """Recompute what was due from events, versions and cursors and compare with the ledger; exit code 1 on a finding.

    Example: evergreet audit --campaign thank-you
    """
    from dataclasses import asdict

    from evergreet.audit import audit as examine
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database
    from evergreet.commands.printing import console, print_json

    with open_database() as database:
        audits = examine(database, DatabaseClock(), campaign)
    if json:
        print_json([{**asdict(one), "clean": one.clean} for one in audits])
    else:
        out = console()
        for one in audits:
            verdict = "[green]clean[/green]" if one.clean else "[red]does not add up[/red]"
            out.print(
                f"{one.campaign}: {verdict}. {one.enrollments} enrollments, {one.due} messages due, "
                f"{one.in_ledger} in the ledger."
            )
            if one.waiting:
                out.print(f"  The time of {one.waiting} more steps has come; the next run plans them.")
            for finding in one.findings:
                out.print(f"  [red]•[/red] {finding}")
        if not audits:
            out.print("No campaign is in the ledger yet.")
    if not all(one.clean for one in audits):
        raise typer.Exit(1)


@app.command()
def workers(json: Json = False) -> None:
    """List the workers that own chunks: alive, stalled or dead, their epochs and what they have in hand.

    Example: evergreet workers
    """
    from rich.table import Table

    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database
    from evergreet.commands.printing import console, print_json
    from evergreet.settings import settings
    from evergreet.workers import workers as look

    with open_database() as database:
        views = look(database, DatabaseClock(), silence_seconds=settings().owner_silence_seconds)
    if json:
        print_json([view.as_dict() for view in views])
        return
    table = Table("worker", "slot", "host", "pid", "since (UTC)", "state", "chunks", "epoch", "in hand", "last sign")
    for view in views:
        state = "stalled" if view.stalled else "alive" if view.alive else "dead: the next run takes over"
        table.add_row(
            str(view.id), str(view.slot), view.host, str(view.pid), f"{view.started_at:%Y-%m-%d %H:%M:%S}", state,
            str(view.chunks), str(view.highest_epoch), str(view.in_hand),
            f"{view.last_sign:%H:%M:%S}" if view.last_sign else "",
        )  # fmt: skip
    console().print(table if views else "No worker is at work.")


@app.command()
def reconcile(
    assume_sent: Annotated[
        str | None,
        typer.Option(help="Campaign whose unknown messages are to be taken as sent; counts until confirmed."),
    ] = None,
    confirm: Confirm = None,
    report: Annotated[
        bool, typer.Option("--report", help="Only show how doubts ended so far, and what is held and why.")
    ] = False,
    json: Json = False,
) -> None:
    """Resolve unknown messages: by what was told, by asking the provider, where a step asks for it by a repeat.

    Example: evergreet reconcile --report
    """
    from dataclasses import asdict

    from evergreet import reconcile as resolving
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import actor, open_database
    from evergreet.commands.printing import print_json
    from evergreet.resolutions import doubts
    from evergreet.sending import opened_for_doubts
    from evergreet.settings import settings

    clock = DatabaseClock()
    with open_database() as database:
        if assume_sent is not None:
            count = resolving.assume_sent(database, assume_sent, clock=clock, actor=actor(), confirm=confirm)
            _say_count(count, confirm, "unknown messages", "taken as sent", f"reconcile --assume-sent {assume_sent}")
            return
        if report:
            with database.read() as connection:
                found = doubts(connection)
            print_json(found.as_dict()) if json else _show_doubts(found)
            return
        with opened_for_doubts(database) as (sender, *others):
            result = resolving.reconcile(database, sender, settings(), clock, also=others)
    if json:
        print_json(asdict(result))
        return
    for how, count in result.resolved.items():
        typer.echo(f"{how}: {count}")
    typer.echo(f"still unknown: {result.unknown}")
    if result.set_aside:
        typer.echo(
            f"{result.set_aside} events of providers could not be applied and are set aside (provider_event, where "
            "result begins with failed): the log of whoever applied them says which; they are tried again for a week."
        )


@app.command()
def retry(
    name: Annotated[str, typer.Argument(help="Name of the campaign.")],
    state: Annotated[str, typer.Option(help="failed or unknown.")] = "failed",
    confirm: Confirm = None,
) -> None:
    """Plan failed (or unknown) messages of a campaign again; each repeat is a recorded attempt. Counts first.

    Example: evergreet retry thank-you --state failed
    """
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import actor, open_database
    from evergreet.reconcile import retry as again

    with open_database() as database:
        count = again(database, name, state, clock=DatabaseClock(), actor=actor(), confirm=confirm)
    _say_count(count, confirm, f"{state} messages", "planned again", f"retry {name} --state {state}")


@app.command()
def hold(
    since: Annotated[str, typer.Option(help="The time of the backup that was restored, or a span such as 6h.")],
) -> None:
    """After a restore: mark what was due since the backup as unknown, before anything is sent.

    Example: evergreet hold --since 2026-03-01T02:00:00Z
    """
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import actor, open_database, parse_moment
    from evergreet.reconcile import hold as mark

    clock = DatabaseClock()
    with open_database() as database:
        with database.read() as connection:
            moment = parse_moment(since, clock.now(connection))
        count = mark(database, moment, clock=clock, actor=actor())
    typer.echo(
        f"{count} messages are unknown now; whatever else turns out to have been due since {moment:%Y-%m-%d %H:%M} UTC "
        "will be. `evergreet reconcile` asks the provider; then decide with `reconcile --assume-sent` or `retry`."
    )


@app.command()
def maintain(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be removed.")] = False,
    json: Json = False,
) -> None:
    """Remove old runs that handed nothing over and what providers told long ago, and renew the store's statistics.

    Messages, attempts, events and stretches stay. EVERGREET_KEEP_RUNS_DAYS says how long such runs are kept,
    EVERGREET_KEEP_PAYLOADS_DAYS how long the payloads of providers' events, EVERGREET_KEEP_POSTED_DAYS how long what
    was posted about people who stayed unknown.

    Example: evergreet maintain --dry-run
    """
    from dataclasses import asdict

    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database
    from evergreet.commands.printing import print_json
    from evergreet.maintenance import maintain as tidy_up
    from evergreet.settings import settings

    with open_database() as database:
        found = tidy_up(
            database, DatabaseClock(), keep_days=settings().keep_runs_days,
            keep_payload_days=settings().keep_payloads_days, keep_posted_days=settings().keep_posted_days,
            dry_run=dry_run,
        )  # fmt: skip
    if json:
        print_json(asdict(found))
        return
    for sentence in found.sentences:
        typer.echo(sentence)


def _show_doubts(found: "Doubts") -> None:
    from rich.markup import escape
    from rich.table import Table

    from evergreet.commands.printing import console
    from evergreet.resolutions import MEANINGS

    out = console()
    if found.resolved:
        table = Table("campaign", "step", "resolution", "messages", "oldest (UTC)", "", title="Doubts that ended")
        for one in found.resolved:
            oldest, meaning = f"{one.oldest:%Y-%m-%d %H:%M}", MEANINGS.get(one.resolution, "")
            table.add_row(one.campaign, one.step, one.resolution, str(one.messages), oldest, meaning)
        out.print(table)
    if found.held:
        table = Table("campaign", "step", "messages", "oldest (UTC)", "why", "what ends it", title="Held")
        for each in found.held:
            oldest = f"{each.oldest:%Y-%m-%d %H:%M}"
            table.add_row(each.campaign, each.step, str(each.messages), oldest, escape(each.reason), each.ends)
        out.print(table)
    if not (found.resolved or found.held):
        out.print("No message was ever in doubt.")


def _say_count(count: int, confirm: int | None, what: str, done: str, command: str) -> None:
    if confirm is None:
        typer.echo(f"{count} {what}; nothing was changed. Confirm with: evergreet {command} --confirm {count}")
    else:
        typer.echo(f"{count} {what} are {done}.")
