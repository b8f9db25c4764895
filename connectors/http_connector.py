"""What the connectors that speak HTTP share: made from their settings, one client, one caller."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import httpx

from connectors.calling import LONGEST_ANSWER, Caller, make_client
from connectors.elapsed import Clock, elapsed
from connectors.environment import read_settings
from evergreet.contracts import Capabilities


class HttpSettings(Protocol):
    """What the settings of such a connector have at the least; times are seconds."""

    @property
    def base_url(self) -> str:
        """Where the API is."""
        ...

    @property
    def connections(self) -> int:
        """Requests side by side."""
        ...

    @property
    def connect_timeout(self) -> float:
        """For reaching the server."""
        ...

    @property
    def timeout(self) -> float:
        """For each wait once it is reached."""
        ...


S = TypeVar("S", bound=HttpSettings)


class HttpConnector(Generic[S]):
    """Calls one provider's API; a connector says who that is, what its key is and in which headers it goes.

    `provider` is how sentences call it, `longest_answer` how many octets of an answer are read.
    """

    provider: ClassVar[str]
    settings_class: ClassVar[type[Any]]
    capabilities: ClassVar[Capabilities]
    longest_answer: ClassVar[int] = LONGEST_ANSWER

    def __init__(self, settings: S, client: httpx.Client, *, clock: Clock = elapsed) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._caller = Caller(
            self.provider,
            client,
            settings.base_url,
            self._key,
            self._headers(),
            settings.connect_timeout,
            settings.timeout,
            clock,
            self.longest_answer,
        )
        # What the class declares are the defaults of the settings.
        given = {name: getattr(settings, name) for name in ("window", "connections") if hasattr(settings, name)}
        self.capabilities = replace(type(self).capabilities, **given)  # type: ignore[misc]

    @classmethod
    def from_environment(cls) -> Self:
        """Read the settings, `EVERGREET_<NAME>_…`."""
        settings = read_settings(cls.settings_class)
        return cls(settings, make_client(settings.connections))

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.base_url!r})"

    @property
    def _key(self) -> str:
        """The secret that is taken out of whatever is said; it stays in the settings."""
        raise NotImplementedError

    def _headers(self) -> Mapping[str, str]:
        """Return the headers of every call."""
        raise NotImplementedError
