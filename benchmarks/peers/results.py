"""What became of one sender in one treatment."""

from dataclasses import dataclass

TREATMENTS = ("one runner", "two runners", "two hosts", "killed")


@dataclass(slots=True)
class Treated:
    """How one sender stood one treatment; counted in messages, from the sink's book.

    `doubt` are those that are shown as uncertain and wait for a person, `missing` those that neither came nor are
    shown. `cpu` is in µs a message, of the process and the database's server.
    """

    who: str
    version: str
    treatment: str
    store: str
    n: int
    came: int = 0
    doubled: int = 0
    missing: int = 0
    doubt: int = 0
    kills: int = 0
    broke: int = 0
    cpu: float = 0.0
    seconds: float = 0.0
