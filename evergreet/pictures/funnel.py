"""The funnel as a picture: per stage who came, who went on and who is there now, with the time it took."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from evergreet.funnel import StageFigures
from evergreet.lifecycle import Lifecycle
from evergreet.pictures import WIDTH, render, wrapped

LEFT, NAMES, BARS = 36, 216, 226
"""Margin, room for the names of stages, and length of the longest bar."""

COLUMNS = (608, 718, 784, 884)
"""Where the numbers end."""


def draw_funnel(lifecycle: Lifecycle, figures: Sequence[StageFigures], since: datetime | None = None) -> str:
    """Return the funnel as SVG: a row per stage in the order of the lifecycle."""
    entered = "ever entered" if since is None else "entered"
    titles = ("now", entered, "went on", "median")
    heading = wrapped(f"Lifecycle {lifecycle.name}", WIDTH - 2 * LEFT, 21)
    top = 46 + 27 * len(heading) + 62
    longest = max((max(one.entered, one.now) for one in figures), default=0) or 1
    rows, y = [], top
    for one in figures:
        lines = wrapped(one.title, NAMES, 15)
        height = max(58, 20 * len(lines) + 24)
        rows.append(
            {
                "y": y, "middle": y + height / 2, "lines": lines, "text": height / 2 + 5 - 10 * (len(lines) - 1),
                "entered": _bar(one.entered, longest), "converted": _bar(one.converted, longest),
                "now": _bar(one.now, longest),
                "numbers": (
                    f"{one.now:,}", f"{one.entered:,}", "–" if one is figures[-1] else _share(one.conversion),
                    said(one.median) if one.median is not None else "–",
                ),
            }
        )  # fmt: skip
        y += height
    return render(
        "funnel.svg",
        title=f"Lifecycle {lifecycle.name}: the funnel",
        description=" ".join(_sentence(one, entered, last=one is figures[-1]) for one in figures),
        heading=heading, subtitle=_subtitle(figures, since), rows=rows, left=LEFT, bars=LEFT + NAMES + 16, top=top,
        height=y + 78,
        columns=[{"title": title, "x": x} for title, x in zip(titles, COLUMNS, strict=True)],
        keys=(
            {"kind": "pale", "x": LEFT, "height": 14, "title": entered},
            {"kind": "strong", "x": LEFT + 140, "height": 14, "title": "of these went on to a later stage"},
            {"kind": "other", "x": LEFT + 420, "height": 6, "title": "there now"},
        ),
    )  # fmt: skip


def said(span: timedelta) -> str:
    """Say how long: in minutes, from two hours on in hours, from two days on in days."""
    hours = span.total_seconds() / 3600
    if hours < 2:
        minutes = round(hours * 60)
        return f"{minutes} minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return f"{hours:.1f} hours"
    return f"{hours / 24:,.1f} days" if hours < 2400 else f"{hours / 24:,.0f} days"


def _bar(count: int, longest: int) -> float:
    """Return a length: nothing for nobody, and something to see for a few."""
    return round(max(BARS * count / longest, 2), 1) if count else 0


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


def _subtitle(figures: Sequence[StageFigures], since: datetime | None) -> str:
    contacts = f"{sum(one.now for one in figures):,} contacts in its stages"
    return f"{contacts}; moves since {since:%Y-%m-%d %H:%M} UTC" if since else f"{contacts}; all moves"


def _sentence(one: StageFigures, entered: str, *, last: bool) -> str:
    went_on = "" if last or one.conversion is None else f", {one.converted} of them went on ({one.conversion:.0%})"
    median = "" if one.median is None else f", after {said(one.median)} (median)"
    return f"{one.title}: {one.now} there now, {one.entered} {entered}{went_on}{median}."
