"""The balance: due = accepted + skipped + failed + deferred + pending + unknown."""

from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection

from evergreet.campaigns import State
from evergreet.tally import count_by_state

STATES = ("accepted", "skipped", "deferred", "planned", "sending", "failed", "unknown")


@dataclass(frozen=True, slots=True)
class Balance:
    """How many messages were due, and what became of each; the states add up to `due`."""

    accepted: int = 0
    skipped: int = 0
    deferred: int = 0
    planned: int = 0
    sending: int = 0
    failed: int = 0
    unknown: int = 0

    @property
    def pending(self) -> int:
        """Planned or in hand right now."""
        return self.planned + self.sending

    @property
    def due(self) -> int:
        """All messages that were due; `evergreet audit` recomputes this number independently."""
        return self.accepted + self.skipped + self.deferred + self.pending + self.failed + self.unknown

    def as_dict(self) -> dict[str, int]:
        """Return all figures, with `due` and `pending`."""
        return {"due": self.due, **asdict(self), "pending": self.pending}


@dataclass(frozen=True, slots=True)
class Report:
    """What one run of a campaign did, and how the campaign stands after it.

    `attempted` counts this run's hand-overs by outcome, with those of its `shards` (how each stands, by its number);
    `reasons` the campaign's rows that were not accepted, by "state: reason"; `halted` says why the run stopped early.
    `warnings` are sentences about a new version, and about steps that can never go. `providers` says why a connector
    cannot be asked now, by its name.
    """

    campaign: str
    run_id: int | None
    state: str
    balance: Balance
    reasons: dict[str, int] = field(default_factory=dict)
    enrolled: int = 0
    excluded: int = 0
    planned: int = 0
    attempted: dict[str, int] = field(default_factory=dict)
    halted: str | None = None
    more: bool = False
    dry_run: bool = False
    warnings: tuple[str, ...] = ()
    shards: dict[int, str] = field(default_factory=dict)
    providers: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the report for machines."""
        return {**asdict(self), "balance": self.balance.as_dict()}


def balance_of(connection: Connection, campaign_id: int) -> tuple[Balance, dict[str, int]]:
    """Count a campaign's messages by state, and by reason where they were not accepted."""
    counts = count_by_state(connection, campaign_id)
    states = dict.fromkeys(STATES, 0)
    reasons: dict[str, int] = {}
    for (state, reason), count in counts.items():
        states[state] += count
        if reason:
            reasons[f"{state}: {reason}"] = reasons.get(f"{state}: {reason}", 0) + count
    return Balance(**states), dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))


def report_of(
    connection: Connection, state: State, *, run_id: int | None = None, halted: str | None = None, enrolled: int = 0,
    excluded: int = 0, planned: int = 0, attempted: dict[str, int] | None = None, more: bool = False,
    dry_run: bool = False, shards: dict[int, str] | None = None, providers: dict[str, str] | None = None,
) -> Report:  # fmt: skip
    """Report how a campaign stands now, with what a run did."""
    balance, reasons = balance_of(connection, state.id)
    return Report(
        state.name, run_id, state.state, balance, reasons, enrolled, excluded, planned, attempted or {}, halted, more,
        dry_run, shards=shards or {}, providers=providers or {},
    )  # fmt: skip
