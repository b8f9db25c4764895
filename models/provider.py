"""What is known of the providers that send: which of them are out, and what they were given on a day."""

from datetime import datetime

from sqlmodel import Field

from models.base import Id, Instant, Table


class Breaker(Table, table=True):
    """A connector whose provider failed of late; one that answers has no row.

    `failures` counts requests in a row. From as many on as the setting says it is out: not asked before `until`, and
    then for one message, whose failure makes the next of the `pauses` longer. `fault`: it is ours (credentials).
    """

    __tablename__ = "breaker"

    connector: str = Field(primary_key=True, max_length=100)
    failures: int = Field(default=0)
    pauses: int = Field(default=0)
    out_since: datetime | None = Field(default=None, sa_type=Instant)
    until: datetime | None = Field(default=None, sa_type=Instant)
    fault: bool = Field(default=False)
    reason: str = Field(default="", max_length=500)


class ProviderDay(Table, table=True):
    """How many messages a connector with a limit per day was given on a day (of the default time zone), as ISO date.

    Written with the intents, and less what certainly was not accepted: so it is never less than what was accepted.
    """

    __tablename__ = "provider_day"

    connector: str = Field(primary_key=True, max_length=100)
    day: str = Field(primary_key=True, max_length=10)
    messages: int = Field(sa_type=Id)
