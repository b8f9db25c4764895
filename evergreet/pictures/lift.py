"""The lift as a picture: how many converted with the campaign and without it, and how sure that is."""

from evergreet.lift import Group
from evergreet.pictures import WIDTH, render, wrapped
from evergreet.report import CampaignReport

LEFT, NAMES, BARS, ROW = 36, 244, 376, 76
"""Margin, room for the names of groups, length of the scale, height of a row."""


def draw_lift(report: CampaignReport) -> str:
    """Return the groups of the report as SVG, with the sentences that say what follows."""
    heading = wrapped(f"{report.campaign}: who converted", WIDTH - 2 * LEFT, 21)
    top = 46 + 27 * len(heading) + 40
    groups = _groups(report)
    scale = max((group.interval[1] for _, _, group in groups if group.interval is not None), default=1.0)
    rows = [
        {"y": top + ROW * place, "title": title, "kind": kind, **_drawn(group, scale)}
        for place, (title, kind, group) in enumerate(groups)
    ]
    lines = [line for sentence in report.sentences for line in wrapped(sentence, WIDTH - 2 * LEFT, 15)]
    below = top + ROW * len(rows)
    people = (f"{title}: {row['people']}, {row['rate']}." for (title, _, _), row in zip(groups, rows, strict=True))
    since = f"caused since {report.since:%Y-%m-%d %H:%M} UTC, " if report.since else ""
    return render(
        "lift.svg",
        title=f"{report.campaign}: conversions with and without the campaign",
        description=" ".join((*people, *report.sentences)),
        heading=heading, subtitle=f"{report.enrollments:,} enrollments {since}as of {report.now:%Y-%m-%d %H:%M} UTC",
        rows=rows, lines=lines, left=LEFT, bars=LEFT + NAMES, top=top, below=below,
        height=below + 34 + 23 * len(lines) + 12,
    )  # fmt: skip


def _groups(report: CampaignReport) -> list[tuple[str, str, Group]]:
    """Return what is drawn: the groups where anybody is held out, else all who were enrolled."""
    if report.goal is None:
        return []
    others = [("Held out", "warm", report.goal.held_out), ("Held out from all", "warm", report.goal.held_out_of_all)]
    if present := [one for one in others if one[2].contacts]:
        return [("With the campaign", "pale", report.goal.treated), *present]
    return [("Enrolled", "pale", report.goal.enrolled)]


def _drawn(group: Group, scale: float) -> dict[str, object]:
    people = f"{group.converted:,} of {group.contacts:,} contacts"
    if group.rate is None or group.interval is None:
        return {"people": people, "rate": "nobody yet", "length": None}
    low, high = group.interval
    return {
        "people": people, "rate": f"{group.rate:.1%}", "length": round(BARS * group.rate / scale, 1),
        "low": round(LEFT + NAMES + BARS * low / scale, 1), "high": round(LEFT + NAMES + BARS * high / scale, 1),
        "between": f"95% between {low:.1%} and {high:.1%}",
    }  # fmt: skip
