"""A Maildir on this machine, as Postfix, Exim and Dovecot deliver into it: https://cr.yp.to/proto/maildir.html.

The library's `mailbox.Maildir` reads a mail whole and writes it anew to set a flag; here it is read up to a size, and
marked by a new name.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from evergreet.bounces.taking import LARGEST
from evergreet.errors import ConfigurationError

_FOLDERS = ("new", "cur")


class Maildir:
    """The mails in `new/` and `cur/`; those with the flag S have been seen."""

    def __init__(self, path: Path) -> None:
        if not all((path / folder).is_dir() for folder in _FOLDERS):
            raise ConfigurationError(
                f"{path} is no Maildir: it has no folders new and cur. Name the folder above them."
            )
        self._path = path

    def mails(self, *, seen: bool) -> Iterator[tuple[str, bytes]]:
        """Return names and beginnings of mails, in the order in which they came.

        Raises `ConfigurationError` where they may not be read.
        """
        try:
            found = [file for folder in _FOLDERS for file in sorted((self._path / folder).iterdir())]
            for file in found:
                if file.name.startswith(".") or ("S" in _flags(file.name) and not seen) or not file.is_file():
                    continue
                with suppress(FileNotFoundError), file.open("rb") as mail:  # a mail program may have moved it
                    yield f"{file.parent.name}/{file.name}", mail.read(LARGEST)
        except OSError as error:
            raise self._fault(error) from None

    def mark(self, names: Sequence[str]) -> None:
        """Move mails to `cur/`, with the flag that says they have been seen."""
        for name in names:
            file = name.rpartition("/")[2]
            flags = "".join(sorted({*_flags(file), "S"}))
            try:
                (self._path / name).rename(self._path / "cur" / f"{file.partition(':')[0]}:2,{flags}")
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self._fault(error) from None

    def _fault(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"The mails in {self._path} cannot be read and moved: {error.strerror}. Run this as their owner."
        )


def _flags(file: str) -> str:
    return file.partition(":2,")[2]
