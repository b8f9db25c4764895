"""A folder of files is read as a CRM: in the order of their changes, from any row on, whatever is in them."""

import csv
import io
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.crm.folder import Folder
from connectors.crm.folder_settings import FolderSettings
from evergreet.contracts import Agreement, CrmContact
from evergreet.errors import DataError, Misconfigured
from evergreet.testing import CrmConnectorContract

AT = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def folder(path: Path, page: int = 3, **settings: Any) -> Folder:
    """A folder that is read at once."""
    return Folder(FolderSettings.model_validate({"path": path, "page": page, "settled": 0, **settings}))


class TestFolder(CrmConnectorContract):
    entry_point = "folder"
    required_settings = ("EVERGREET_FOLDER_PATH",)
    secrets = ()
    writes = False
    by_http = False

    @pytest.fixture
    def connect(self, tmp_path: Path) -> Callable[[], Folder]:
        return lambda: folder(tmp_path)

    @pytest.fixture
    def unreachable(self, tmp_path: Path) -> Folder:
        return folder(tmp_path / "nowhere")

    @pytest.fixture
    def put(self, tmp_path: Path) -> Callable[[str, str], str]:
        """Each change is a file of its own, as exports are."""
        files = iter(range(1000))

        def put(email: str, name: str) -> str:
            row = {"id": email, "email": email, "first_name": name}
            (tmp_path / f"{next(files):04}.jsonl").write_text(json.dumps(row) + "\n")
            return email

        return put


def read(connector: Folder, cursor: str = "") -> tuple[list[CrmContact], list[tuple[str, str]], str]:
    """Read to the end."""
    contacts: list[CrmContact] = []
    unreadable: list[tuple[str, str]] = []
    more = True
    while more:
        page = connector.changed_since(cursor)
        contacts, unreadable = [*contacts, *page.contacts], [*unreadable, *page.unreadable]
        cursor, more = page.cursor, page.more
    return contacts, unreadable, cursor


def test_a_row_is_a_contact_by_its_columns(tmp_path: Path) -> None:
    (tmp_path / "crm.csv").write_text(
        "\ufeffNr;Mail;Vorname;plz;size;updated;consent.news;consent.orders;consent_at;consent_wording;gone;left\n"
        "1; Ann@Example.com ;Ann;01069;41;2026-03-10T12:00:00Z;yes;;2026-03-09;Yes please;;no\n"
        "2;;;;-3.50;1773144000;true;no;;;0;YES\n"
        "3;;;;;2026-03-10 13:00:00+01:00;;;;;true;\n",
        "utf-8",
    )
    names: dict[str, Any] = {
        "id_column": "Nr", "email_column": "Mail", "changed_at_column": "updated", "deleted_column": "gone",
        "unsubscribed_column": "left", "columns": {"Vorname": "first_name"},
    }  # fmt: skip
    contacts, unreadable, _ = read(folder(tmp_path, **names))
    assert unreadable == []
    assert contacts == [
        CrmContact(
            "1", AT, "Ann@Example.com", {"first_name": "Ann", "plz": "01069", "size": 41},
            (Agreement("news", True, datetime(2026, 3, 9, tzinfo=UTC), "Yes please"),),
        ),
        # A yes without its own time is none; a no counts from the row's.
        CrmContact("2", AT, "", {"first_name": None, "plz": None, "size": -3.5},
                   (Agreement("orders", False, AT),), unsubscribed=True),
        CrmContact("3", AT, deleted=True),
    ]  # fmt: skip


def test_files_are_read_in_the_order_of_their_changes_and_a_changed_one_again(tmp_path: Path) -> None:
    connector = folder(tmp_path, page=2)

    def write(name: str, *numbers: int) -> None:
        (tmp_path / name).write_text("id\n" + "".join(f"{number}\n" for number in numbers))
        deadline = time.monotonic() + 10  # so that the next file is younger, however coarse the disk's clock is
        while (tmp_path / name).stat().st_mtime_ns >= _touched(tmp_path):
            assert time.monotonic() < deadline

    write("b.csv", 1, 2, 3)
    write("a.csv", 4)
    (tmp_path / ".c.csv").write_text("id\n9\n")
    (tmp_path / "notes.txt").write_text("id\n9\n")
    contacts, _, cursor = read(connector)
    assert [one.id for one in contacts] == ["1", "2", "3", "4"]
    assert read(connector, cursor) == ([], [], cursor)
    write("b.csv", 1, 5)
    os.utime(tmp_path / "b.csv", (0, 0))  # a copy that keeps the old time is new all the same
    contacts, _, cursor = read(connector, cursor)
    assert [one.id for one in contacts] == ["1", "5"]
    (tmp_path / "b.csv").unlink()
    assert read(connector, cursor)[0] == []


def _touched(path: Path) -> int:
    probe = path / ".probe"
    probe.write_text("")
    return probe.stat().st_mtime_ns


def test_a_file_that_may_still_be_written_to_waits(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    assert read(folder(tmp_path, settled=3600))[0] == []


def test_rows_are_those_of_the_csv_module_from_any_octet_on(tmp_path: Path) -> None:
    rows = [
        [str(n), text] for n, text in enumerate(["a\nb", 'say "no"', "x,y;z", "", "山田　太郎", "\r\n\r\n", "é" * 3000])
    ]
    for number, line in enumerate(("\n", "\r\n")):
        written = io.StringIO()
        csv.writer(written, lineterminator=line).writerows([["id", "note"], *rows])
        (tmp_path / f"{number}.csv").write_bytes(written.getvalue().encode())
    for page in (1, 2, 100):
        contacts, unreadable, _ = read(folder(tmp_path, page=page))
        assert unreadable == []
        assert [[one.id, one.details["note"] or ""] for one in contacts] == [*rows, *rows]


def test_what_is_wrong_with_a_row_keeps_no_other_from_it(tmp_path: Path) -> None:
    long = b"x" * (1024 * 1024)
    (tmp_path / "a.csv").write_bytes(
        b'id,note\n1,fine\n2,"left open\n3,fine\n4\n5,\xff\n\n,nobody\n6,' + long + b"\n7,fine\n"
    )
    (tmp_path / "b.jsonl").write_bytes(
        b'{"id": 8}\n[]\n{"id": \n\n{"id": 9, "changed_at": "yesterday"}\n{"id": true}\n{"id": "10", "x": "'
        + long + b'"}\n{"id": 11, "deleted": "maybe"}\n{"id": 12.0}'
    )  # fmt: skip
    (tmp_path / "c.csv").write_text("id,id\n1,2\n")
    for page in (1, 3, 500):
        contacts, unreadable, cursor = read(folder(tmp_path, page=page))
        assert [one.id for one in contacts] == ["1", "3", "7", "8", "12"]
        assert len(unreadable) == 12, unreadable
        assert all(len(why) < 200 for _, why in unreadable)
        assert read(folder(tmp_path, page=page), cursor) == ([], [], cursor)


def test_a_folder_that_is_not_there_and_a_place_that_is_none_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"nowhere cannot be read: No such file or directory\."):
        folder(tmp_path / "nowhere").check()
    with pytest.raises(DataError, match="--from-start"):
        folder(tmp_path).changed_since('["x", 1, 2]')
