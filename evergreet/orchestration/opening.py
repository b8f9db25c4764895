"""How runs open what the settings name."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from evergreet.contracts import EmailSender
from evergreet.errors import ConfigurationError
from evergreet.registry import open_connector
from evergreet.settings import settings


@contextmanager
def opened_sender() -> Iterator[EmailSender]:
    """Open the connector that sends email."""
    name = settings().email
    with closing(open_connector(name)) as sender:
        if not isinstance(sender, EmailSender):
            raise ConfigurationError(f"EVERGREET_EMAIL={name}: this connector does not send email.")
        yield sender
