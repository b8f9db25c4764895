"""Campaigns: list, launch, pause, resume, stop, run, and who gets what and why."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evergreet.commands.listing import ListFirst

if TYPE_CHECKING:
    from evergreet.campaign import Options
    from evergreet.registry import CampaignModule

app = typer.Typer()
group = typer.Typer(cls=ListFirst, help="List the campaigns and how they stand, and say in words what one does.")
app.add_typer(group, name="campaigns")

Name = Annotated[str, typer.Argument(help="Name of the campaign, as `evergreet campaigns` lists it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="An option of the campaign: --set check_in_hour=9. May be repeated.")
]


@group.command("list")
def list_campaigns(json: Json = False) -> None:
    """List the campaigns in the ledger: state, balance, and what has something due. `list` may be left out.

    Example: evergreet campaigns list
    """
    from rich.table import Table

    from evergreet.balance import balance_of
    from evergreet.broadcasts import announcements, waiting_for_a_word
    from evergreet.campaigns import due_campaigns, states
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database
    from evergreet.commands.printing import console, print_json

    with open_database() as database, database.read() as connection:
        due = set(due_campaigns(connection, DatabaseClock().now(connection)))
        found = [(state, balance_of(connection, state.id)[0]) for state in states(connection)]
        broadcasts = announcements(connection)
    if json:
        print_json(
            [
                {
                    "name": state.name, "state": state.state, "reason": state.reason, "live_since": state.live_since,
                    "due_now": state.name in due, "balance": balance.as_dict(),
                    "waiting": [
                        {"occurrence": one.occurrence, "recipients": one.recipients}
                        for one in broadcasts if one.waits and one.campaign == state.name
                    ],
                }
                for state, balance in found
            ]
        )  # fmt: skip
        return
    table = Table("campaign", "state", "live since", "due", "accepted", "skipped", "deferred", "pending", "failed",
                  "unknown", "now")  # fmt: skip
    for state, balance in found:
        table.add_row(
            state.name, state.state + (f": {state.reason}" if state.reason else ""),
            f"{state.live_since:%Y-%m-%d %H:%M}" if state.live_since else "", str(balance.due), str(balance.accepted),
            str(balance.skipped), str(balance.deferred), str(balance.pending), str(balance.failed),
            str(balance.unknown), "has something due" if state.name in due else "",
        )  # fmt: skip
    console().print(table if found else "No campaign is in the ledger yet: run `evergreet launch NAME`.")
    for state, _ in found:
        if question := waiting_for_a_word([one for one in broadcasts if one.campaign == state.name]):
            typer.echo(f"{state.name}: {question}")


@group.command()
def show(name: Name, json: Json = False) -> None:
    """Say in words what a campaign does: as it stands in the ledger, or in its file where it was never launched.

    Example: evergreet campaigns show win-back
    """
    from rich.markup import escape
    from rich.table import Table

    from evergreet.campaigns import state_of, version_of
    from evergreet.commands.opening import open_database
    from evergreet.commands.printing import console, print_json
    from evergreet.describing import describe

    with open_database() as database, database.read() as connection:
        state = state_of(connection, name)
        version = None if state is None or state.version_id is None else version_of(connection, state.version_id)
    if version is None or state is None:
        found, chosen = _chosen(name, None)
        standing, campaign, options = "never launched", found.campaign.resolve(chosen), chosen.of_version()
    else:
        standing = state.state + (f" ({state.reason})" if state.reason else "")
        campaign, options = version.campaign, version.options
    lines = list(describe(campaign))
    if json:
        print_json({"name": name, "state": standing, "options": options, "does": lines})
        return
    table = Table(show_header=False, title=escape(f"{name}: {standing}"), title_justify="left")
    for word, sentence in lines:
        table.add_row(escape(word), escape(sentence))
    for option, value in options.items():
        table.add_row(escape(f"--set {option}"), escape(str(value)))
    console().print(table)


@app.command()
def launch(
    name: Name,
    backfill: Annotated[
        str | None,
        typer.Option(help="Take history in: a time such as 2026-01-31, or a span such as 30d. Counts until confirmed."),
    ] = None,
    confirm: Annotated[int | None, typer.Option(help="The count that --backfill printed.")] = None,
) -> None:
    """Make a campaign live: from now on it enrolls what happens, and nothing from before.

    Example: evergreet launch thank-you --backfill 14d
    """
    from evergreet.campaigns import launch as go_live
    from evergreet.campaigns import template_loader, version_of
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import actor, open_database, parse_since
    from evergreet.enrollment import backfill as take_in
    from evergreet.errors import ConfigurationError, DefinitionError
    from evergreet.event_names import misspelt
    from evergreet.preview import check_samples
    from evergreet.proving import prove
    from evergreet.sending import opened_others
    from evergreet.settings import settings
    from evergreet.step_checks import check_channels, never_open

    found, chosen = _chosen(name, None)
    with opened_others() as others:
        check_channels(name, found.campaign.steps, others)
    for refused in never_open(name, found.campaign.resolve(chosen).steps, settings()):
        raise ConfigurationError(refused)
    check_samples(found.campaign, settings())
    clock, load = DatabaseClock(), template_loader(settings().templates)
    with open_database() as database:
        with database.read() as connection:
            since = parse_since(backfill, clock.now(connection)) if backfill is not None else None
            proofs = prove(
                connection, found.campaign.resolve(chosen), chosen.of_version(),
                lambda step: load(step.template, step.purpose), settings(), clock.now(connection),
            )  # fmt: skip
            doubtful = list(misspelt(connection, found.campaign))
        for proof in proofs:
            if proof.hopeless:
                raise DefinitionError(f"{name} was not launched. {proof}.")
        state = go_live(database, found.campaign, chosen, load, clock=clock, actor=actor())
        for proof in proofs:
            if not proof.sound:
                typer.echo(f"Look at {proof}.", err=True)
        if strangers := sorted(settings().topic_caps.keys() - (topics := _topics())):
            typer.echo(
                f"Look at EVERGREET_TOPIC_CAPS: no campaign has the topic {strangers[0]!r}, so its cap counts nothing. "
                f"There are: {', '.join(sorted(topics)) or 'none'}.",
                err=True,
            )
        for sentence in doubtful:
            typer.echo(f"Look at {sentence}", err=True)
        typer.echo(f"{name} is live since {state.live_since:%Y-%m-%d %H:%M:%S} UTC.")
        if since is None:
            return
        with database.read() as connection:
            assert state.version_id is not None
            version = version_of(connection, state.version_id)
        count = take_in(database, version, since, clock=clock, actor=actor(), confirm=confirm)
        if confirm is None:
            typer.echo(
                f"{count} enrollments would be made from history since {since:%Y-%m-%d %H:%M} UTC; nothing is stored. "
                f"Confirm with: evergreet launch {name} --backfill {since:%Y-%m-%dT%H:%M:%SZ} --confirm {count}"
            )
        else:
            typer.echo(f"{count} enrollments were made from history since {since:%Y-%m-%d %H:%M} UTC.")


@app.command()
def pause(name: Name, reason: Annotated[str, typer.Option(help="Why, for whoever looks next.")] = "") -> None:
    """Stop enrolling and sending until resumed; windows already in hand are finished.

    Example: evergreet pause thank-you --reason "wrong link in the receipt"
    """
    from evergreet.campaigns import pause as move
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import actor, open_database

    with open_database() as database:
        move(database, name, clock=DatabaseClock(), actor=actor(), reason=reason)
    typer.echo(f"{name} is paused. `evergreet resume {name}` goes on; what happens meanwhile is not missed.")


@app.command()
def resume(name: Name) -> None:
    """Go on with a paused campaign; late steps are sent or skipped by their lateness.

    Example: evergreet resume thank-you
    """
    from evergreet.campaigns import resume as move
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import actor, open_database

    with open_database() as database:
        move(database, name, clock=DatabaseClock(), actor=actor())
    typer.echo(f"{name} is live.")


@app.command()
def stop(name: Name) -> None:
    """End a campaign: nobody is enrolled any more and nobody on the way gets anything more.

    Example: evergreet stop thank-you
    """
    from evergreet.campaigns import stop as move
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import actor, open_database

    with open_database() as database:
        move(database, name, clock=DatabaseClock(), actor=actor())
    typer.echo(f"{name} is stopped; its planned messages are skipped (campaign_stopped).")


@app.command()
def run(
    name: Name,
    options: Set = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count who would get what; store nothing.")] = False,
    json: Json = False,
) -> None:
    """Run a campaign now, without a Prefect server: enroll, plan and send what is due.

    Example: evergreet run thank-you --dry-run
    """
    from evergreet.broadcasts import give_word
    from evergreet.campaigns import template_loader
    from evergreet.commands.opening import actor, open_database, stop_on_signal
    from evergreet.commands.printing import RichReporter, print_json, print_report
    from evergreet.engine import Engine
    from evergreet.sending import opened_senders
    from evergreet.settings import settings

    found, chosen = _chosen(name, options)
    if dry_run:
        chosen = chosen.model_copy(update={"dry_run": True})
    with opened_senders() as senders, open_database() as database, RichReporter() as reporter:
        load = template_loader(settings().templates)
        engine = Engine(database, senders.email, settings(), load, reporter=reporter, others=senders.others)
        give_word(database, name, chosen, clock=engine.clock, actor=actor())
        with stop_on_signal(engine.request_stop):
            report = engine.run(found.campaign, chosen)
    if json:
        print_json(report.as_dict())
    else:
        print_report(report)
    if report.halted and not dry_run:
        raise typer.Exit(1)


@app.command("send-test")
def send_test(
    name: Name,
    to: Annotated[
        str,
        typer.Option(help="The address (or the number, for SMS) that gets it; nothing is written to the ledger."),
    ],
    step: Annotated[str | None, typer.Option(help="Only this step.")] = None,
    options: Set = None,
) -> None:
    """Send every step of a campaign, with its sample data, to an address of yours, or its SMS to your number.

    Example: evergreet send-test thank-you --to me@example.org
    """
    from evergreet.channels import is_number
    from evergreet.samples import send_samples
    from evergreet.sending import opened_sender
    from evergreet.settings import settings

    found, chosen = _chosen(name, options)
    with opened_sender("sms" if is_number(to.strip()) else "email") as sender:
        for key, sentence in send_samples(sender, found.campaign, chosen, settings(), to=to, step=step):
            typer.echo(f"{key}: {sentence}")


@app.command()
def explain(
    name: Name,
    contact: Annotated[str, typer.Argument(help="Address, id, or id in its source.")],
    json: Json = False,
) -> None:
    """Say what a campaign did for a contact, and why they did not get something.

    Example: evergreet explain thank-you ana@example.org
    """
    from rich.markup import escape
    from rich.table import Table

    from evergreet.campaigns import required
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database
    from evergreet.commands.printing import console, print_json
    from evergreet.explain import explain as facts_about
    from evergreet.explain import find_contacts
    from evergreet.sending import held, standings
    from evergreet.settings import settings

    zone, clock = settings().default_timezone, DatabaseClock()
    with open_database() as database:
        out = held(standings(database, clock))
        with database.read() as connection:
            state, now = required(connection, name), clock.now(connection)
            found = [
                (row, facts_about(connection, state, row.id, now=now, zone=zone, held=out))
                for row in find_contacts(connection, contact)
            ]
    if json:
        print_json(
            [
                {
                    "contact": row.id, "address": row.address,
                    "lines": [{"at": line.at, "what": line.what, "detail": line.detail} for line in lines],
                }
                for row, lines in found
            ]
        )  # fmt: skip
        return
    for row, lines in found:
        table = Table("when (UTC)", "what", "detail", title=escape(f"contact {row.id} {row.address or '(no address)'}"))
        for line in lines:
            table.add_row(f"{line.at:%Y-%m-%d %H:%M}" if line.at else "", escape(line.what), escape(line.detail))
        console().print(table)


def _topics() -> set[str]:
    """Return the topics of all campaigns that there are."""
    from evergreet.registry import find_campaigns
    from evergreet.settings import settings

    found = find_campaigns(settings().campaigns).values()
    return {one.campaign.topic for one in found if one.campaign.topic is not None}


def _chosen(name: str, options: list[str] | None) -> "tuple[CampaignModule, Options]":
    """Find a campaign and its options; a wrong option is a sentence that names what there is."""
    from pydantic import ValidationError

    from evergreet.errors import ConfigurationError
    from evergreet.registry import find_campaign
    from evergreet.settings import settings

    found = find_campaign(settings().campaigns, name)
    values: dict[str, Any] = {}
    for item in options or []:
        key, equals, value = item.partition("=")
        if not equals:
            raise ConfigurationError(f"--set {item}: write name=value.")
        values[key] = value
    try:
        return found, found.options(**values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        known = ", ".join(found.options.model_fields)
        raise ConfigurationError(
            f"--set {'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}. Options of {name}: {known}."
        ) from None
