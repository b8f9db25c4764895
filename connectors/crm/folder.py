"""A folder of CSV and JSONL files as a CRM: what another system exports, a contact a row.

A new file and one that was written anew are read, in the order in which that happened; a file is told again from its
beginning where it has changed. When a row was changed its own column says, else the file's time.
"""

import time
from datetime import UTC, datetime
from typing import ClassVar, Self

from connectors.crm.folder_files import Place, files_after, rows_from
from connectors.crm.folder_settings import FolderSettings
from connectors.environment import read_settings
from connectors.rows import NoContact, RowReader
from evergreet.contracts import Capabilities, CrmContact, CrmPage
from evergreet.errors import DataError, Misconfigured


class Folder:
    """Reads the files of one folder; nothing in it is written or moved."""

    name: ClassVar[str] = "folder"
    capabilities: ClassVar[Capabilities] = Capabilities(channel="crm", proven_by=("Python's csv and json packages",))

    def __init__(self, settings: FolderSettings) -> None:
        self._settings = settings

    @classmethod
    def from_environment(cls) -> Self:
        """Read `EVERGREET_FOLDER_…`."""
        return cls(read_settings(FolderSettings))

    def check(self) -> str:
        """Say how many files there are."""
        files = self._files(Place(0, ""), time.time_ns())
        return f"The folder {self._settings.path} has {len(files)} file{'' if len(files) == 1 else 's'} of contacts."

    def changed_since(self, cursor: str) -> CrmPage:
        """Return the next rows of the file at hand, or of the one that follows."""
        try:
            place = Place.read(cursor)
        except (ValueError, TypeError):
            raise DataError("This place in the folder is none: read it again with --from-start.") from None
        settled = time.time_ns() - int(self._settings.settled * 1_000_000_000)
        contacts: list[CrmContact] = []
        unreadable: list[tuple[str, str]] = []
        for file in self._files(place, settled):
            place = self._read(file, contacts, unreadable)
            if len(contacts) + len(unreadable) >= self._settings.page:
                return CrmPage(tuple(contacts), str(place), True, tuple(unreadable))
        return CrmPage(tuple(contacts), str(place), False, tuple(unreadable))

    def close(self) -> None:
        """Nothing is open."""

    def __repr__(self) -> str:
        return f"Folder({str(self._settings.path)!r})"

    def _files(self, place: Place, settled: int) -> list[Place]:
        try:
            return files_after(self._settings.path, place, settled)
        except OSError as error:
            raise Misconfigured(f"The folder {self._settings.path} cannot be read: {error.strerror}.") from None
        except UnicodeEncodeError:
            raise Misconfigured(f"The folder {self._settings.path} has a file whose name is not UTF-8.") from None

    def _read(self, file: Place, contacts: list[CrmContact], unreadable: list[tuple[str, str]]) -> Place:
        """Read rows until there are enough of them, and return where the next one begins."""
        path = self._settings.path / file.name
        reader = RowReader(self._settings, are_text=path.suffix.lower() in {".csv", ".tsv"})
        written = datetime.fromtimestamp(file.stamp / 1_000_000_000, UTC)
        place = file
        try:
            for row in rows_from(path, file.offset):
                place = Place(file.stamp, file.name, row.ends)
                try:
                    if isinstance(row.values, NoContact):
                        raise row.values
                    contacts.append(reader.contact(row.values, written))
                except NoContact as problem:
                    unreadable.append((f"{file.name}, octet {row.begins:,}", str(problem)))
                if len(contacts) + len(unreadable) >= self._settings.page:
                    break
        except NoContact as problem:
            unreadable.append((file.name, str(problem)))
            place = Place(file.stamp, file.name, 1 << 62)
        except OSError as error:
            raise Misconfigured(f"{path} cannot be read: {error.strerror}.") from None
        return place
