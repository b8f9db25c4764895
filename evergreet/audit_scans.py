"""What a campaign has looked at, as the audit reads it: stretches of the ingest order, of time, and by which version.

A stretch does not say which version scanned it, but its enrollments do: they are pinned to that version, and were made
at the moment the stretch was recorded. Where it enrolled nobody, it may have been any version that was there by then.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, and_, null, select
from sqlmodel import col

from evergreet.audit_streams import stream
from evergreet.campaigns import State
from models import ClockStretch, Enrollment, Stretch


class _Chain:
    """Follows stretches that must touch, each beginning where the one before it ends; `gaps` says where they do not."""

    def __init__(self, at: Any) -> None:
        self.at = at
        self.gaps: list[str] = []

    def follow(self, row: Any) -> None:
        """Go on to where a stretch ends; what was taken in later, from the history, lies beside the chain."""
        if row.kind == "backfill":
            return
        if self.at is None or row.low != self.at:
            self.gaps.append(f"between {self.at} and {row.low}")
        self.at = row.high

    def end(self, at: Any) -> list[str]:
        """Return the gaps of a chain that must end there."""
        return self.gaps if self.at == at else [*self.gaps, f"between {self.at} and {at}"]


@dataclass(frozen=True, slots=True)
class Scan:
    """Positions, `low` ≤ position < `high`, that one of `versions` scanned for what happened since `since`."""

    low: int
    high: int
    since: datetime
    versions: frozenset[int]

    def saw(self, position: int, at: datetime) -> bool:
        """Whether what was ingested at that position, and happened then, was seen."""
        return self.low <= position < self.high and at >= self.since


@dataclass(slots=True)
class Scans:
    """All that was scanned. Neighbours that differ in nothing are one, so that thousands of runs take no memory."""

    running: list[Scan] = field(default_factory=list)
    history: list[Scan] = field(default_factory=list)
    enrolled: int = 0
    gaps: list[str] = field(default_factory=list)

    def over(self, position: int, at: datetime) -> Iterator[Scan]:
        """Yield the scans that saw what was ingested at that position and happened then."""
        if (run := self.ran_over(position, at)) is not None:
            yield run
        for scan in self.history:
            if scan.saw(position, at):
                yield scan

    def ran_over(self, position: int, at: datetime) -> Scan | None:
        """Return the run that saw it: history that is taken in later repeats no broadcast."""
        last = bisect_right(self.running, position, key=lambda scan: scan.low)
        return scan if last > 0 and (scan := self.running[last - 1]).saw(position, at) else None


def read_scans(connection: Connection, state: State, versions: Collection[Any], *, alike: bool) -> Scans:
    """Read the stretches of a campaign; they are contiguous from where it began to where its cursor stands.

    `versions` are its version rows; where they are `alike` in what they scan for, nobody asks which one it was.
    """
    found = Scans()
    chain = _Chain(state.scanned_from)
    all_of_them = frozenset(version.id for version in versions)
    for _, same in groupby(stream(connection, _stretches(state, by=not alike)), key=attrgetter("id")):
        rows = list(same)
        row = rows[0]
        found.enrolled += row.enrolled
        if row.kind != "gap":
            pinned = {each.version_id for each in rows} - {None}
            there = all_of_them if alike else {one.id for one in versions if one.created_at <= row.at}
            scan = Scan(row.low, row.high, row.since, frozenset(pinned or there))
            _append(found.history if row.kind == "backfill" else found.running, scan)
        chain.follow(row)
    found.gaps = chain.end(state.scanned_to)
    return found


def _append(scans: list[Scan], scan: Scan) -> None:
    last = scans[-1] if scans else None
    if last is not None and (last.high, last.since, last.versions) == (scan.low, scan.since, scan.versions):
        scans[-1] = Scan(last.low, scan.high, last.since, last.versions)
    else:
        scans.append(scan)


def _stretches(state: State, *, by: bool) -> Any:
    pinned = (
        select(col(Enrollment.enrolled_at), col(Enrollment.version_id))
        .where(col(Enrollment.campaign_id) == state.id)
        .distinct()
        .subquery()
    )
    query = select(Stretch, (pinned.c.version_id if by else null()).label("version_id")).where(
        col(Stretch.campaign_id) == state.id
    )
    if by:
        query = query.outerjoin(pinned, and_(pinned.c.enrolled_at == col(Stretch.at), col(Stretch.enrolled) > 0))
    return query.order_by(col(Stretch.low), col(Stretch.id))


class ClockStretches:
    """The stretches of time a campaign looked at; those that touch are one."""

    def __init__(self, connection: Connection, state: State) -> None:
        self.state = state
        self.enrolled = 0
        self.looked: list[tuple[datetime, datetime]] = []
        chain = _Chain(state.clock_from)
        for row in stream(
            connection,
            select(ClockStretch)
            .where(col(ClockStretch.campaign_id) == state.id)
            .order_by(col(ClockStretch.low), col(ClockStretch.id)),
        ):
            self.enrolled += row.enrolled
            if row.kind != "gap":
                self._look(row.low, row.high)
            chain.follow(row)
        self.gaps = chain.end(state.clock_to)

    def _look(self, low: datetime, high: datetime) -> None:
        if self.looked and low <= self.looked[-1][1]:
            self.looked[-1] = (self.looked[-1][0], max(high, self.looked[-1][1]))
        else:
            self.looked.append((low, high))

    def cover(self, moment: datetime) -> bool:
        """Whether that moment was looked at."""
        last = bisect_right(self.looked, moment, key=lambda span: span[0])
        return last > 0 and moment < self.looked[last - 1][1]

    def cover_for_certain(self, moment: datetime) -> bool:
        """Whether it was looked at since the campaign was last launched: then what comes late counts as well."""
        state = self.state
        live = (
            state.live_since is not None and state.clock_to is not None and state.live_since <= moment < state.clock_to
        )
        return live and self.cover(moment)
