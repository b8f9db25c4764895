"""The outbox: mail as `.eml` files in a Maildir, for trying things out and for handing on to anything that reads one.

A file is complete and on disk before it is in `new/`; its name comes from the message's key, so that a repeat is the
same file, and whether a message was accepted can always be answered by looking.
"""

import errno
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import quote

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.email.mime import compose
from connectors.environment import read_settings
from evergreet.contracts import Accepted, Capabilities, EmailMessage, Found, Outcome
from evergreet.errors import ConnectorError, Misconfigured, Retryable

_PASSING = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.EAGAIN,
    errno.EBUSY,
    errno.ESTALE,
    errno.ENOMEM,
}
"""What may be over in a while: a full disk or quota, too many open files, a file server that is away."""


class OutboxSettings(BaseSettings):
    """Where the mails go."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_OUTBOX_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    dir: Path = Field(
        default=Path(".evergreet/outbox"), description="Folder (a Maildir) that the mails are written to."
    )


class Outbox:
    """Writes each message as one file."""

    name: ClassVar[str] = "outbox"
    capabilities: ClassVar[Capabilities] = Capabilities(
        batch_limit=1000, window=50, connections=2, find=True, proven_by=("Python's mailbox and email packages",)
    )

    def __init__(self, settings: OutboxSettings) -> None:
        self.folder = settings.dir.absolute()
        self._new = self.folder / "new"
        self._cur = self.folder / "cur"
        self._tmp = self.folder / "tmp"

    @classmethod
    def from_environment(cls) -> Self:
        """Read `EVERGREET_OUTBOX_DIR`."""
        return cls(read_settings(OutboxSettings))

    def send(self, batch: Sequence[EmailMessage]) -> list[Outcome]:
        """Write the messages; a message is accepted when its file and the folder's entry for it are on disk."""
        if not batch:
            return []
        try:
            self._make_folders()
            read = self._read_mails()
        except OSError as error:
            fault = self._fault(error)
            return [fault for _ in batch]
        outcomes = [self._write(message, read) for message in batch]
        try:
            _sync(self._new)
        except OSError as error:
            doubt = Retryable(
                f"The outbox {self.folder} could not be brought to disk: {error.strerror}.", accepted="maybe"
            )
            return [doubt if isinstance(outcome, Accepted) else outcome for outcome in outcomes]
        return outcomes

    def find(self, keys: Sequence[str]) -> dict[str, Found]:
        """Say for every key whether its file is there: what is not in this folder was not sent.

        Empty (nothing is certain) when the folder cannot be read.
        """
        try:
            present = {file.name for file in self._new.iterdir()} | self._read_mails()
        except FileNotFoundError:
            present = set()
        except OSError:
            return {}
        return {key: Found(_file_name(key) in present, key if _file_name(key) in present else "") for key in keys}

    def check(self) -> str:
        """Write a file into `tmp/` and take it away again."""
        try:
            self._make_folders()
            with tempfile.NamedTemporaryFile(dir=self._tmp) as probe:
                probe.write(b"\n")
            waiting = sum(1 for _ in self._new.iterdir())
        except OSError as error:
            raise self._fault(error) from None
        return f"Mails are written to {self.folder} (Maildir); {waiting} are there, unread."

    def close(self) -> None:
        """There is nothing to give back."""

    def __repr__(self) -> str:
        return f"Outbox({str(self.folder)!r})"

    def _make_folders(self) -> None:
        if self._new.is_dir() and self._cur.is_dir() and self._tmp.is_dir():
            return
        for folder in (self._tmp, self._cur, self._new):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sync(self.folder)
        _sync(self.folder.parent)

    def _read_mails(self) -> set[str]:
        """Names of the mails that a mail reader has moved to `cur/`, without the flags it added."""
        return {file.name.partition(":")[0] for file in self._cur.iterdir()}

    def _write(self, message: EmailMessage, read: set[str]) -> Outcome:
        try:
            content = compose(message).content
        except ConnectorError as refused:
            return refused.with_traceback(None)  # type: ignore[return-value] # compose raises outcomes only
        name = _file_name(message.key)
        if name in read or (self._new / name).exists():
            return Accepted(message.key)
        temporary = ""
        try:
            handle, temporary = tempfile.mkstemp(dir=self._tmp, suffix=".eml")
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(handle)
            Path(temporary).rename(self._new / name)
        except OSError as error:
            if temporary:
                with suppress(OSError):
                    Path(temporary).unlink()
            return self._fault(error)
        return Accepted(message.key)

    def _fault(self, error: OSError) -> Retryable | Misconfigured:
        said = f"The outbox {self.folder} cannot be written: {error.strerror or error}."
        if error.errno in _PASSING:
            return Retryable(said, accepted="no")
        return Misconfigured(f"{said} Set EVERGREET_OUTBOX_DIR to a folder that this user may write to.")


def _file_name(key: str) -> str:
    """Name the file of a key: two keys never share one, and no key leaves the folder or hides its file."""
    name = quote(key, safe="")
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if len(name) > 200:
        name = f"{name[:130]}%{sha256(key.encode()).hexdigest()}"
    return f"{name}.eml"


def _sync(folder: Path) -> None:
    """Bring the entries of a folder to disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
