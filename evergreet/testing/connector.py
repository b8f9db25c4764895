"""The rules of any connector, as tests: what it says of itself, and what it never tells."""

import logging
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from evergreet.contracts import Capabilities, Connector, CrmListener, Finder, SuppressionSource, WebhookSource
from evergreet.errors import ConnectorError, Misconfigured
from evergreet.registry import connector_class, connector_entries


def is_a_sentence(text: str) -> bool:
    """Whether a person can read it: some words on one line."""
    return len(text.split()) >= 3 and "\n" not in text and "Traceback" not in text


class ConnectorContract:
    """What the contract of each kind of connector begins with; it gives the fixtures and what else there is to try."""

    entry_point: ClassVar[str]
    """Name under `evergreet.connectors` in your package's entry points."""
    required_settings: ClassVar[tuple[str, ...]]
    """Environment variables without which the connector cannot be built; empty when there are none."""
    secrets: ClassVar[tuple[str, ...]]
    """Canary values that the fixtures use as credentials; empty when the connector has none."""
    channel: ClassVar[str]
    """What its capabilities say; a kind's contract sets it, and the protocol."""
    protocol: ClassVar[type]

    @pytest.fixture
    def connector(self) -> Connector:
        """Give a connector that works."""
        raise NotImplementedError("Override the fixture `connector`.")

    @pytest.fixture
    def arrived(self) -> Callable[[], Sequence[Any]]:
        """Give a function that tells what the provider took so far, in order."""
        raise NotImplementedError("Override the fixture `arrived`.")

    @pytest.fixture
    def unreachable(self) -> Connector:
        """Give a connector with the same secrets whose provider can accept nothing."""
        raise NotImplementedError("Override the fixture `unreachable`.")

    def tried(self, connector: Any) -> Iterable[object]:
        """Do what may go right and what goes wrong with a connector; return what it said."""
        raise NotImplementedError

    def test_it_is_found_by_its_entry_point(self, connector: Connector) -> None:
        assert self.entry_point in connector_entries(), f"no entry point {self.entry_point!r} in evergreet.connectors"
        assert connector_class(self.entry_point) is type(connector)
        assert type(connector).name == self.entry_point

    def test_its_capabilities_are_consistent(self, connector: Connector) -> None:
        assert isinstance(connector, self.protocol)
        for capabilities in (type(connector).capabilities, connector.capabilities):
            assert isinstance(capabilities, Capabilities)
            assert capabilities.channel == self.channel
            assert capabilities.window >= 1
            assert capabilities.batch_limit >= 1
            assert capabilities.connections >= 1
            assert all(capabilities.proven_by)
            assert capabilities.idempotency is None or capabilities.idempotency > timedelta(0)
            assert capabilities.find == isinstance(connector, Finder), "`find` is declared where it is implemented"
            listens = isinstance(connector, (WebhookSource, CrmListener))
            assert capabilities.webhooks == listens, "and so is `webhooks`"
            assert capabilities.suppressions == isinstance(connector, SuppressionSource), "and `suppressions`"

    def test_check_says_in_a_sentence_what_it_found(
        self, connector: Connector, arrived: Callable[[], Sequence[Any]]
    ) -> None:
        assert is_a_sentence(connector.check())
        assert not arrived(), "a check sends nothing"

    def test_check_says_what_is_wrong(self, unreachable: Connector) -> None:
        with pytest.raises(ConnectorError) as refused:
            unreachable.check()
        assert is_a_sentence(str(refused.value))

    def test_secrets_are_in_no_text(
        self, connector: Connector, unreachable: Connector, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        texts = []
        for thing in (connector, unreachable, *self.tried(connector), *self.tried(unreachable)):
            texts += [str(thing), repr(thing), repr(getattr(thing, "__dict__", ""))]
        try:
            unreachable.check()
        except ConnectorError as error:
            texts += [str(error), repr(error), repr(error.__dict__)]
        for secret in self.secrets:
            assert secret not in "\n".join([caplog.text, *texts])

    def test_missing_settings_are_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        monkeypatch.chdir(tmp_path_factory.mktemp("empty"))  # there is no .env
        for name in self.required_settings:
            monkeypatch.delenv(name, raising=False)
        kind = connector_class(self.entry_point)
        if not self.required_settings:
            kind.from_environment().close()
            return
        with pytest.raises(Misconfigured) as refused:
            kind.from_environment()
        for name in self.required_settings:
            assert name in str(refused.value)

    def test_importing_it_opens_no_connection(self) -> None:
        program = (
            "import sys\n"
            "def hook(event, arguments):\n"
            "    assert event not in ('socket.connect', 'socket.getaddrinfo', 'socket.gethostbyname'), event\n"
            "sys.addaudithook(hook)\n"
            "from evergreet.registry import connector_class\n"
            f"connector_class({self.entry_point!r})\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr

    def test_it_may_be_closed_twice(self, connector: Connector) -> None:
        list(self.tried(connector))
        connector.close()
        connector.close()
