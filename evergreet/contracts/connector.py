"""What every connector is: a name, what it can do as data, and how it is built and checked."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Protocol, Self, runtime_checkable


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a connector can do, as data.

    `batch_limit` is the most messages in one `send`; `window` the default number of messages whose intent
    is written together (DESIGN §5.5); `idempotency` the lifetime of the provider's idempotency key.
    `splits`: messages of one skeleton travel in one request (`EmailMessage.split`), so the engine gives it
    windows of one skeleton. `suppressions`: it can be asked whom its provider does not write to any more. `taken` and
    `again` are the statuses that tell its provider that a webhook was stored, and that it is to be posted once more.
    `proven_by` names what the connector was tried against that its authors did not write.
    """

    channel: str = "email"
    batch_limit: int = 1
    window: int = 1
    connections: int = 1
    idempotency: timedelta | None = None
    splits: bool = False
    sandbox: bool = False
    find: bool = False
    webhooks: bool = False
    suppressions: bool = False
    taken: int = 200
    again: int = 503
    proven_by: tuple[str, ...] = ()


@runtime_checkable
class Connector(Protocol):
    """What every connector has, whatever it can do.

    `from_environment` reads the connector's own settings (`EVERGREET_<NAME>_…` and `.env`) and raises
    `Misconfigured` with a sentence when one is missing; importing the module reads nothing.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    @classmethod
    def from_environment(cls) -> Self:
        """Build the connector from its settings class."""
        ...

    def check(self) -> str:
        """Make a harmless live call and say in a sentence what was found; raise a typed error otherwise."""
        ...

    def close(self) -> None:
        """Give back connections; a closed connector is not used again."""
        ...
