"""What the connectors share whose shop or till calls us: their secrets, and that nothing of ours is open."""

from abc import abstractmethod
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from pydantic import SecretStr

from connectors.environment import read_settings
from connectors.events.secrets import secrets_in
from evergreet.contracts import CustomerEvent, WebhookRequest


class ToldSettings(Protocol):
    """What the settings of such a connector have at the least."""

    @property
    def webhook_secret(self) -> SecretStr:
        """What its webhooks are signed with, several with commas between them."""
        ...

    @property
    def consent_topic(self) -> str:
        """The topic that a consent given there is about; empty where none is kept."""
        ...

    @property
    def consent_wording(self) -> str:
        """The words that it was given to."""
        ...


S = TypeVar("S", bound=ToldSettings)


class Told(Generic[S]):
    """Is told what customers do; a connector says how that is signed, and how it is read.

    `provider` is how sentences call it, `consent_to` what a consent that is given there is to.
    """

    provider: ClassVar[str]
    consent_to: ClassVar[str]
    settings_class: ClassVar[type[Any]]

    def __init__(self, settings: S) -> None:
        self._settings = settings
        self._keys = secrets_in(settings.webhook_secret)

    @classmethod
    def from_environment(cls) -> Self:
        """Read the settings, `EVERGREET_<NAME>_…`."""
        return cls(read_settings(cls.settings_class))

    def check(self) -> str:
        """Say what is set: there is nothing to ask the other side for, which calls us."""
        topic = self._settings.consent_topic
        return (
            f"{self.provider}'s webhooks are verified with {len(self._keys)} "
            f"secret{'s' if len(self._keys) > 1 else ''}; consent to {self.consent_to} is "
            f"{f'about {topic}' if topic else 'not kept'}. {self.provider} itself is not asked."
        )

    def read_events(self, request: WebhookRequest) -> list[CustomerEvent]:
        """Read the event of one request."""
        found = self._read(request, self._settings.consent_topic, self._settings.consent_wording)
        return [] if found is None else [found]

    @staticmethod
    @abstractmethod
    def _read(request: WebhookRequest, topic: str, wording: str) -> CustomerEvent | None:
        """Read the event of one request, with what a consent in it is about and was given to."""

    def close(self) -> None:
        """Nothing is open."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._keys)} secrets)"
