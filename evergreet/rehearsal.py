"""A rehearsal: what a run would do now, asked of the store and rolled back."""

from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select
from sqlmodel import col

from evergreet.balance import Balance, Report, balance_of, report_of
from evergreet.campaign import Campaign, Options
from evergreet.campaigns import State, Version, hold_off, register, required, versions_of
from evergreet.composing import read_letters
from evergreet.dormancy import ending_campaigns
from evergreet.enrollment import enroll
from evergreet.gates import Go, Rules, Skip, decide_window
from evergreet.ledger import WRITE_SENDING
from evergreet.planning import chunk_waiting, plan_chunk
from models import Chunk, Message

if TYPE_CHECKING:
    from evergreet.engine import Engine


def rehearse(engine: "Engine", campaign: Campaign, options: Options) -> Report:
    """Enroll, plan and ask the gates as a run would, and roll everything back."""
    with engine.database.engine.connect() as connection:
        connection.execution_options(evergreet_write=True)
        transaction = connection.begin()
        try:
            hold_off(connection, campaign.name)  # before the campaign's row is written: a run has these locks first
            now = engine.clock.now(connection)
            version = register(connection, campaign, options, engine.load, now)
            state = required(connection, campaign.name)
            versions = versions_of(connection, state.id)
            if state.state == "live":
                enrolled = enroll(connection, state, version, now, engine.settings.default_timezone)
                planned, left = 0, True
                while left:  # as a run: a following step that is due as well is planned too
                    moved = engine.prepare(connection, versions, state, now)
                    size = plan_chunk(connection, state, versions, now, options.batch_size)
                    again = chunk_waiting(connection, state, versions, now, options.batch_size)
                    planned += size
                    left = moved + size + again > 0
                balance, reasons = _forecast(engine, connection, state, versions)
                return Report(
                    campaign.name, None, state.state, balance, reasons, enrolled.active, enrolled.excluded, planned,
                    dry_run=True,
                )  # fmt: skip
            return report_of(connection, state, halted=state.not_live, dry_run=True)
        finally:
            transaction.rollback()


def _forecast(
    engine: "Engine", connection: Connection, state: State, versions: dict[int, Version]
) -> tuple[Balance, dict[str, int]]:
    """Ask the gates about every planned message; what would go stays `planned` in the forecast.

    In the ledger that is rolled back it is written as being sent: what comes after it finds its places taken.
    """
    now = engine.clock.now(connection)
    balance, reasons = balance_of(connection, state.id)
    outcomes: Counter[str] = Counter()
    endings = ending_campaigns(connection)
    planned = connection.execute(
        select(col(Chunk.priority), col(Chunk.id), col(Message.version_id), col(Message.step_key))
        .join(Chunk, col(Chunk.id) == col(Message.chunk_id))
        .where(
            col(Message.campaign_id) == state.id,
            col(Message.state) == "planned",
        )
        .distinct()
        .order_by(col(Chunk.priority), col(Chunk.id))
    ).all()
    for row in planned:
        version = versions[row.version_id]
        step = version.campaign.step(row.step_key)
        assert step is not None
        rules = Rules(version.campaign, step, engine.settings, engine.tokens, endings)
        letters = read_letters(connection, row.id)
        decisions = decide_window(
            connection, rules, [letter.id for letter in letters],
            {letter.id: letter.changed_at for letter in letters}, now,
        )  # fmt: skip
        for decision in decisions.values():
            if reason := getattr(decision, "reason", None):
                outcomes[f"{'skipped' if isinstance(decision, Skip) else 'deferred'}: {reason}"] += 1
        going = [message for message, decision in decisions.items() if isinstance(decision, Go)]
        if going:
            sending = {"messages": going, "chunk": row.id, "through": "", "now": now}
            connection.execute(WRITE_SENDING[step.channel], sending)
    skipped = sum(count for name, count in outcomes.items() if name.startswith("skipped"))
    deferred = sum(outcomes.values()) - skipped
    figures = {name: getattr(balance, name) for name in ("accepted", "sending", "failed", "unknown")}
    forecast = Balance(
        **figures, skipped=balance.skipped + skipped, deferred=balance.deferred + deferred,
        planned=balance.planned - skipped - deferred,
    )  # fmt: skip
    return forecast, dict(Counter(reasons) + outcomes)
