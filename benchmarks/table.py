"""Records as tables in Markdown, so that they can stand in a page as they are."""

from collections.abc import Sequence
from typing import Any

from benchmarks.engine import Result
from benchmarks.peers.results import TREATMENTS, Treated
from benchmarks.phases import PHASES, REST
from benchmarks.records import Records

COLUMNS = (
    "store → sink", "N", *PHASES, REST, "**total**", "limit", "× limit", "bare loop", "× bare", "seconds", "MiB",
    "lost", "doubled", "due = accepted = sink",
)  # fmt: skip
LEDGER = ("enroll", "plan", "take", "gates+intent", "settle")
"""What the ledger costs: all but making the message and handing it over."""


def tables(records: Records) -> str:
    """Return all tables, what was measured, and a sentence for each case that is left out or does not add up."""
    measured = [result for result in records.cases if not result.skipped]
    marketing = [result for result in measured if result.purpose == "marketing"]
    receipts = [result for result in measured if result.purpose != "marketing"]
    parts = []
    if marketing:
        parts += ["### Contacts enter a stage and get a mail each", cases(marketing), _about(marketing)]
        parts += ["### Part by part: CPU µs a message ÷ the bare limit of the same run", parts_table(marketing)]
        parts += ["### Nothing due, and memory", standing(marketing)]
    if receipts:
        parts += ["### Transactional: each message a window of its own", cases(receipts)]
    for name, rows in records.others.items():
        parts += [f"### {name}", table([tuple(rows[0]), *(tuple(map(_told, row.values())) for row in rows)])]
    if records.peers:
        parts += ["### Others at the same work", *peers(records.peers)]
    parts += [sentence for result in records.cases for sentence in _exceptions(result)]
    if records.machines:
        parts.append("Measured on " + "; ".join(f"{day}: {said}" for day, said in records.machines.items()) + ".")
    return "\n\n".join(parts)


def cases(results: Sequence[Result]) -> str:
    """Return the table of CPU by phase."""
    return table([COLUMNS, *(_row(result) for result in results)])


def parts_table(results: Sequence[Result]) -> str:
    """Return each part of a message beside the bare limit of that part."""
    rows: list[tuple[str, ...]] = [
        ("store → sink", "N", "rendering ÷ joining pieces", "ledger ÷ one row a message", "hand-over ÷ raw socket")
    ]
    for one in results:
        ledger = sum(one.phases[phase] for phase in LEDGER)
        pairs = (
            (one.phases["render"], one.limits["render"]), (ledger, one.limits["store"]),
            (one.phases["hand-over"], one.limits["socket"]),
        )  # fmt: skip
        said = (f"{ours:.0f} ÷ {bare:.1f} = {_ratio(ours, bare)}" for ours, bare in pairs)
        rows.append((_case(one), f"{one.n:,}", *said))
    return table(rows)


def standing(results: Sequence[Result]) -> str:
    """Return what should not depend on the number of messages: a run with nothing due, and memory."""
    rows = [("store", "N", "nothing due, ms", "of it CPU, ms", "most MiB")]
    for store, n in dict.fromkeys((one.store, one.n) for one in results):
        those = [one for one in results if (one.store, one.n) == (store, n)]
        quickest = min(those, key=lambda one: one.nothing_due_ms)
        rows.append(
            (store, f"{n:,}", f"{quickest.nothing_due_ms:.0f}", f"{quickest.nothing_due_cpu_ms:.0f}",
             f"{max(one.peak_mib for one in those):.0f}")
        )  # fmt: skip
    return table(rows)


def peers(treated: Sequence[Treated]) -> list[str]:
    """Return a table of what they cost, and one of what two runners or a kill make of them."""
    costs = [("", "store", "N", "CPU µs a message", "× Evergreet", "seconds", "missing", "doubled")]
    for one in (one for one in treated if one.treatment == TREATMENTS[0]):
        ours = next(
            (other.cpu for other in treated if other.who == "Evergreet" and
             (other.treatment, other.store, other.n) == (one.treatment, one.store, one.n)), 0.0,
        )  # fmt: skip
        costs.append(
            (f"{one.who} {one.version}", one.store, f"{one.n:,}", f"{one.cpu:,.0f}", _ratio(one.cpu, ours),
             f"{one.seconds:.1f}", f"{one.missing:,}", f"{one.doubled:,}")
        )  # fmt: skip
    faults = [("treatment", "", "store", "N", "came", "doubled", "missing", "in doubt, and shown", "broke off")]
    faults += [
        (one.treatment if not one.kills else f"{one.treatment} {one.kills} times", f"{one.who} {one.version}",
         one.store, f"{one.n:,}", f"{one.came:,}", f"{one.doubled:,}", f"{one.missing:,}", f"{one.doubt:,}",
         f"{one.broke}")
        for one in treated if one.treatment != TREATMENTS[0]
    ]  # fmt: skip
    return [table(rows) for rows in (costs, faults) if len(rows) > 1]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows, the first of them the heading, as one table."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join(f"{'-' * (width + 1)}:" for width in widths) + "|", *lines[1:]])


def _row(result: Result) -> tuple[str, ...]:
    figures = (*(result.phases[phase] for phase in (*PHASES, REST)), result.total)
    limit = sum(result.limits.values())
    books = (result.due, result.accepted, result.sink_count)
    return (
        _case(result), f"{result.n:,}", *(f"{figure:.0f}" for figure in figures),
        f"{limit:.0f}", _ratio(result.total, limit), f"{result.bare:.0f}", _ratio(result.total, result.bare),
        f"{result.seconds:,.1f}", f"{result.peak_mib:.0f}", f"{result.lost:,}", f"{result.doubled:,}",
        f"{books[0]:,}" if len(set(books)) == 1 else " ≠ ".join(f"{n:,}" for n in books),
    )  # fmt: skip


def _case(result: Result) -> str:
    return f"{result.store} → {result.sink}"


def _ratio(ours: float, other: float) -> str:
    return f"{ours / other:.1f}" if other >= 0.05 else "–"


def _told(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _about(results: Sequence[Result]) -> str:
    said = dict.fromkeys(
        f"{_case(one)} ({one.durability}): {one.what}, windows of {one.window}, {one.octets / 1000:.1f} kB a message."
        for one in results
    )
    return "\n".join(["CPU in µs a message, of the process and of the database's server.", *said])


def _exceptions(result: Result) -> list[str]:
    case = f"{_case(result)}, {result.n:,}"
    left_out = [f"Left out: {case}: {result.skipped}."] if result.skipped else []
    return left_out + [f"THE BOOKS DISAGREE: {case}: {finding}." for finding in result.findings]
