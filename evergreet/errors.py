"""Errors, typed by what the caller does next."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal


class EvergreetError(Exception):
    """Something a person can mend: the message says what happened, on what, and what to do."""


class ConfigurationError(EvergreetError):
    """A setting is missing or wrong."""


class DefinitionError(EvergreetError):
    """A campaign, lifecycle or template definition is wrong; raised when it is loaded."""


class DataError(EvergreetError):
    """An input file or argument cannot be used as it is."""


class SchemaError(EvergreetError):
    """The database schema is missing, older or newer than this program."""


class OwnershipLost(EvergreetError):
    """This worker no longer owns what it was working on: it must stop and write nothing more."""


class ConnectorError(Exception):
    """What a connector reports; each subclass says what the engine does next."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Retryable(ConnectorError):
    """Try again later.

    `accepted` is "no" when it is certain that nothing was accepted, "maybe" when the provider may have
    accepted the message (the row becomes `unknown`). `retry_after` is the time the provider asked for. `for_recipient`
    is true when it says so of this recipient alone (greylisting, a full mailbox), and so is not out of order itself.
    """

    def __init__(
        self,
        reason: str,
        *,
        accepted: Literal["no", "maybe"] = "no",
        retry_after: timedelta | None = None,
        for_recipient: bool = False,
    ) -> None:
        super().__init__(reason)
        self.accepted = accepted
        self.retry_after = retry_after
        self.for_recipient = for_recipient


class Permanent(ConnectorError):
    """This message will never be accepted; others may be.

    `address_invalid` is true only when the provider says that the mailbox does not exist (a hard bounce,
    such as 550 5.1.1, or a number that takes no SMS): the address is then suppressed. `unsubscribed` is true when it
    says that its reader stopped messages with it (such as a STOP by SMS): the address then gets no marketing.
    """

    def __init__(self, reason: str, *, address_invalid: bool = False, unsubscribed: bool = False) -> None:
        super().__init__(reason)
        self.address_invalid = address_invalid
        self.unsubscribed = unsubscribed


class Misconfigured(ConnectorError):
    """The fault is ours (credentials, sender, settings): nothing was accepted and the channel must halt."""


class Refused(ConnectorError):
    """A request for several messages was refused as a whole and named nobody: nothing in it was accepted.

    Raised by `RepeatableSender.hand_over` alone; the engine then asks in smaller requests, each with a key of its own.
    """


class NotGenuine(ConnectorError):
    """A webhook that its provider did not sign, or not exactly so; the reason is for the log, never for the sender."""


class Unreadable(ConnectorError):
    """A genuine webhook that cannot be read: not the provider's format."""


def wrong_setting(variable: str, problem: Mapping[str, Any]) -> str:
    """Say of one of pydantic's problems with a setting what is to be mended, without its value: it may be a secret."""
    kind, said = problem["type"], str(problem["msg"])
    if kind == "missing":
        return f"{variable} is not set"
    if kind in ("dict_type", "model_type", "model_attributes_type", "dataclass_type"):
        said = "this has to be a JSON object, {…}"
    return f"{variable}: {said.removeprefix('Value error, ')}"


def no_json(prefix: str, error: Exception) -> str:
    """Say which setting is not the JSON that it has to be; pydantic-settings names its field, and never the value."""
    field = re.search(r'field "(\w+)"', str(error))
    return (
        f'{prefix}{field[1].upper() if field else "…"}: this is not JSON, such as ["one", "two"] or {{"name": "text"}}'
    )
