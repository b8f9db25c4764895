"""One table of all cases, in Markdown, so that it can stand in a page as it is."""

from collections.abc import Sequence

from benchmarks.engine import Result
from benchmarks.phases import PHASES, REST

IDEAL = {
    ("sqlite", "null"): 10, ("sqlite", "smtp"): 39, ("sqlite", "sendgrid"): 15,
    ("postgresql", "smtp"): 52, ("postgresql", "sendgrid"): 25,
}  # fmt: skip
"""CPU µs a message of the quickest parts, each measured alone and added up: what nothing can go below."""

COLUMNS = (
    "store → sink", "N", *PHASES, REST, "**total**", "bare", "× bare", "ideal", "a second", "MiB",
    "due = accepted = sink",
)  # fmt: skip


def table(results: Sequence[Result]) -> str:
    """Return the table, what was measured, and a sentence for each case that is left out or does not add up."""
    measured = [result for result in results if not result.skipped]
    rows = [COLUMNS, *(_row(result) for result in measured)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    lines = [_line(COLUMNS, widths), "|" + "|".join(f"{'-' * (width + 1)}:" for width in widths) + "|"]
    lines += [_line(row, widths) for row in rows[1:]]
    lines += [
        "",
        "CPU in µs a message, of the process and of the database's server; `a second` by the clock on the wall.",
    ]
    lines += [f"{name}." for name in dict.fromkeys(_about(result) for result in measured)]
    for result in results:
        case = f"{result.store} → {result.sink}, {result.n:,}"
        if result.skipped:
            lines.append(f"Left out: {case}: {result.skipped}.")
        lines += [f"THE BOOKS DISAGREE: {case}: {finding}." for finding in result.findings]
    return "\n".join(lines)


def _row(result: Result) -> tuple[str, ...]:
    figures = (*(result.phases[phase] for phase in (*PHASES, REST)), result.total, result.bare)
    ideal = IDEAL.get((result.store, result.sink))
    books = (result.due, result.accepted, result.sink_count)
    return (
        f"{result.store} → {result.sink}", f"{result.n:,}", *(f"{figure:.0f}" for figure in figures),
        f"{result.total / result.bare:.2f}" if result.bare else "–", str(ideal or "–"), f"{result.per_second:,.0f}",
        f"{result.peak_mib:.0f}", f"{books[0]:,}" if len(set(books)) == 1 else " ≠ ".join(f"{n:,}" for n in books),
    )  # fmt: skip


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def _about(result: Result) -> str:
    return (
        f"{result.store} ({result.durability}) → {result.sink}: {result.what}, windows of {result.window}, "
        f"{result.octets / 1000:.1f} kB a message"
    )
