"""Compare the ledger with the books of the mail server."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

FINAL = {"accepted", "failed", "skipped", "unknown"}

Ledger = Mapping[str, Mapping[str, Any]]
"""Messages by the key they have outside, as `scenario.ledger` reads them."""


def disagreements(rows: Ledger, taken: Counter[str], in_flight: Collection[str]) -> list[str]:
    """Say where the ledger is not true: at most one mail per row, no row open, every doubt explained by a death.

    `taken` counts what the server took by key, `in_flight` are the rows that were in hand at a death.
    """
    found = [f"a mail that no row knows: {key}" for key in taken if key not in rows]
    for key, row in rows.items():
        name = f"{row['step']} of {row['who']} ({row['state']}: {row['reason']})"
        if row["state"] not in FINAL:
            found.append(f"{name} has not come to an end")
        if taken[key] > 1:
            found.append(f"{name} was sent {taken[key]} times")
        if row["state"] == "accepted" and taken[key] != 1:
            found.append(f"{name} was never sent")
        if row["state"] in {"failed", "skipped"} and taken[key]:
            found.append(f"{name} was sent all the same")
        if (row["state"] == "unknown") != (key in in_flight):
            found.append(f"{name}: in hand at a death? {key in in_flight}")
        if row["state"] != "accepted" and not row["reason"]:
            found.append(f"{name} has no reason")
    return found
