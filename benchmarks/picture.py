"""The records as a picture: what a message costs, part by part, and beside it the bare limit and others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.engine import Result
from benchmarks.peers.results import TREATMENTS, Treated
from benchmarks.phases import REST
from benchmarks.records import Records
from benchmarks.table import LEDGER
from evergreet.pictures import WIDTH, render, save, wrapped

LEFT, NAMES, BARS, ROW, TOP = 36, 184, 480, 46, 124
"""Margin, room for names, length of the scale, height of a row, and where the first one begins."""
KEYS = (("pale", "making the message"), ("strong", "the ledger"), ("warm", "handing it over"), ("other", "rest"))


def draw(records: Records, path: Path) -> None:
    """Write the picture of the largest number of messages that all cases have; nothing where there is no case."""
    marketing = [one for one in records.cases if one.purpose == "marketing" and not one.skipped]
    if not marketing:
        return
    kinds = {(one.store, one.sink) for one in marketing}
    whole = [n for n in {one.n for one in marketing} if {(o.store, o.sink) for o in marketing if o.n == n} == kinds]
    n = max(whole or [one.n for one in marketing])
    save(picture([one for one in marketing if one.n == n], records.peers), path)


def picture(cases: Sequence[Result], peers: Sequence[Treated]) -> str:
    """Return the picture as SVG: a bar per case, and a sentence per treatment of others."""
    longest = max(max(one.total, one.bare) for one in cases)
    rows = [_row(one, longest, TOP + ROW * place) for place, one in enumerate(cases)]
    sentences = [
        "Marks: the bare limit (parts alone, nothing in between) and the bare loop (plain Jinja, no ledger).",
        *_others(peers),
    ]
    lines = [line for sentence in sentences for line in wrapped(sentence, WIDTH - 2 * LEFT, 13)]
    below = TOP + ROW * len(rows)
    doubled, lost = sum(one.doubled for one in cases), sum(one.lost for one in cases)
    return render(
        "picture.svg", package="benchmarks",
        title="CPU time of one message",
        description=" ".join((*(f"{row['title']}: {row['total']}, {row['note']}." for row in rows), *sentences)),
        heading=wrapped(f"CPU time of one message, of {cases[0].n:,}", WIDTH - 2 * LEFT, 21),
        subtitle=f"process and database server together; {lost:,} lost and {doubled:,} doubled in all cases",
        keys=[{"kind": kind, "x": LEFT + 190 * place, "title": title} for place, (kind, title) in enumerate(KEYS)],
        rows=rows, lines=lines, left=LEFT, below=below, height=below + 28 + 20 * len(lines) + 8,
    )  # fmt: skip


def _row(one: Result, longest: float, y: int) -> dict[str, Any]:
    parts = (
        one.phases["render"], sum(one.phases[phase] for phase in LEDGER), one.phases["hand-over"],
        max(one.phases[REST], 0),
    )  # fmt: skip
    pieces, x = [], float(LEFT + NAMES)
    for (kind, _), part in zip(KEYS, parts, strict=True):
        width = BARS * part / longest
        pieces.append({"kind": kind, "x": round(x, 1), "width": round(width, 1)})
        x += width
    limit = sum(one.limits.values())
    marks = [round(LEFT + NAMES + BARS * figure / longest, 1) for figure in (limit, one.bare)]
    return {
        "y": y, "title": f"{one.store} → {one.sink}", "pieces": pieces, "marks": marks, "total": f"{one.total:.0f} µs",
        "note": f"limit {limit:.0f}, loop {one.bare:.0f}",
    }  # fmt: skip


def _others(peers: Sequence[Treated]) -> list[str]:
    """Say what the same work by SMTP costs whom, and what a treatment made of it, on the store that has most."""
    said = []
    for treatment in TREATMENTS:
        those = [one for one in peers if one.treatment == treatment]
        if not those:
            continue
        store, n = max((one.store, one.n) for one in those)
        those = [one for one in those if (one.store, one.n) == (store, n)]
        if treatment == TREATMENTS[0]:
            told = (f"{one.who} {one.cpu:,.0f} µs" for one in those)
        else:
            told = (
                f"{one.who} {one.doubled:,} doubled and {one.missing:,} missing"
                + (f", {one.doubt:,} held as uncertain" if one.doubt else "")
                for one in those
            )
        times = f" {those[0].kills} times" if those[0].kills else ""
        said.append(f"Same mail by SMTP, {store}, {n:,}, {treatment}{times}: {'; '.join(told)}.")
    return said
