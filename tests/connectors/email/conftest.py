"""An authority that certificates in tests come from, and a server and settings that know it."""

import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from connectors.calling import make_client
from connectors.email.sendgrid import SendGrid
from connectors.email.sendgrid_settings import SendGridSettings
from connectors.email.smtp import Smtp
from connectors.email.smtp_settings import SmtpSettings
from tests.connectors.email.sendgrid_sink import Sink
from tests.connectors.email.servers import RealServer, Script, ScriptedServer

SENDGRID_KEY = "SG.canary-d0nt-tell"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def connect_to() -> Iterator[Callable[..., Smtp]]:
    """Make connectors that are closed when the test ends."""
    made: list[Smtp] = []

    def make(port: int, **options: Any) -> Smtp:
        outside = {name: options.pop(name) for name in ("connect", "clock", "context") if name in options}
        values = {"host": "127.0.0.1", "security": "none", "timeout": 5, **options}
        made.append(Smtp(SmtpSettings(port=port, **values), **outside))
        return made[-1]

    yield make
    for smtp in made:
        smtp.close()


@pytest.fixture(params=[False, True], ids=["one by one", "pipelining"])
def scripted(request: pytest.FixtureRequest) -> Iterator[Callable[..., ScriptedServer]]:
    """Start scripted servers, once such as take one command after another, once such as announce PIPELINING."""
    with ExitStack() as running:

        def start(*scripts: Script) -> ScriptedServer:
            return running.enter_context(ScriptedServer(*scripts, pipelining=request.param))

        yield start


@pytest.fixture
def real(server_context: ssl.SSLContext) -> Iterator[Callable[..., RealServer]]:
    with ExitStack() as running:

        def start(**how: Any) -> RealServer:
            return running.enter_context(RealServer(server_context, **how))

        yield start


@pytest.fixture(scope="session")
def sendgrid_spec() -> Path | None:
    """SendGrid's own description, where the folder with the vendors' files is here."""
    folder = os.environ.get("EVERGREET_FIXTURES")
    return Path(folder) / "specs" / "sendgrid_mail_v3.patched.json" if folder else None


@pytest.fixture
def sink(sendgrid_spec: Path | None) -> Iterator[Sink]:
    """A local SendGrid; a request that breaks one of SendGrid's rules fails the test."""
    with Sink(SENDGRID_KEY, sendgrid_spec) as running:
        yield running
    assert running.faults == []


@pytest.fixture
def sendgrid_at() -> Iterator[Callable[..., SendGrid]]:
    """Make connectors to an address that are closed when the test ends."""
    made: list[SendGrid] = []

    def make(url: str, **options: Any) -> SendGrid:
        outside = {name: options.pop(name) for name in ("client", "clock") if name in options}
        values = {"api_key": SENDGRID_KEY, "timeout": 20, **options}
        settings = SendGridSettings.model_validate({"base_url": url, **values})
        made.append(SendGrid(settings, outside.pop("client", None) or make_client(settings.connections), **outside))
        return made[-1]

    yield make
    for connector in made:
        connector.close()
