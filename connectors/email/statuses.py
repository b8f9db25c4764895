"""What enhanced status codes (RFC 3463) and reports of complaints (RFC 5965) mean, whoever tells them."""

import re
from collections.abc import Mapping

from evergreet.contracts import Kind, Verdict

NO_SUCH_MAILBOX = frozenset(["5.1.1", "5.1.3", "5.1.6", "5.1.10"])
"""No such mailbox, bad syntax of it, moved without a new address (RFC 3463), domain takes no mail (RFC 7505).
Not 5.1.2, unknown domain: a server whose resolver is broken says so of good addresses."""

OTHERWISE: Mapping[str, Kind] = {
    "4": Kind.SOFT_BOUNCED,
    "5.2.2": Kind.SOFT_BOUNCED,
    "5.2.3": Kind.BLOCKED,
    "5.3.4": Kind.BLOCKED,
    "5.6": Kind.BLOCKED,
    "5.7": Kind.BLOCKED,
}
"""Codes, or how they begin, that speak of no missing mailbox."""

REPORTS: Mapping[str, tuple[Kind, Verdict]] = {
    "not-spam": (Kind.DELIVERED, Verdict.NONE),
    "auth-failure": (Kind.DELIVERED, Verdict.NONE),
}
"""Types of feedback (RFC 5965, 6591) in small letters that are nobody's complaint; any other is one."""

COMPLAINT = (Kind.COMPLAINED, Verdict.COMPLAINED)


_REPLY = re.compile(
    r"(?<![\d.])(?:([45])\d\d(?:[ -]+#?([45]\.\d{1,3}\.\d{1,3})(?!\.?\d))?|([45]\.\d{1,3}\.\d{1,3}))(?![\d.]\d)"
)
"""The first answer of a receiver in words about it: `550`, `4.2.2` or `552 5.2.2`."""


def kind_said(reply: str) -> Kind | None:
    """Return what a receiver's own words say where they speak of no missing mailbox; None for all others.

    Whatever a provider calls a bounce: what was answered with 4…, a full mailbox or a policy may pass.
    """
    found = _REPLY.search(reply)
    return None if found is None else kind_otherwise(found[2] or found[3] or found[1])


def kind_otherwise(status: str) -> Kind | None:
    """Return what a code says that speaks of no missing mailbox; None for all others."""
    parts = status.split(".")
    return next((OTHERWISE[code] for n in (3, 2, 1) if (code := ".".join(parts[:n])) in OTHERWISE), None)
