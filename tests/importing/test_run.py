"""An import as a whole: all or nothing, rejects file, interruption, two at once, memory."""

import csv
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.errors import DataError, EvergreetError
from evergreet.importing.memory import RowMemory
from evergreet.importing.rejects import RejectsFile
from evergreet.importing.run import Summary
from tests.conftest import NOW
from tests.importing.conftest import Loading, outcome

ROOT = Path(__file__).resolve().parents[2]
MAPS = {"contact": "user", "email": "{user}@example.test"}
CREATE = {"create_contacts": True}


def _log(rows: int, users: int = 30) -> str:
    """A log in which every tenth row is a copy of the row before."""
    lines = ["user,name,occurred_at,n"]
    for number in range(rows):
        n = number - (number % 10 == 9)
        lines.append(f"u{n * 7 % users},step{n % 5},{(NOW - timedelta(minutes=n * 13 % 9999)).isoformat()},{n}")
    return "\n".join(lines) + "\n"


def test_strict_stores_everything_or_nothing(load: Loading) -> None:
    text = _log(40)
    summary = load("events", text + "u1,step,soon,1\n", maps=MAPS, build=CREATE, strict=True, batch_rows=10)
    assert outcome(summary) == (41, 0, 0, 0, 1)
    assert (summary.withheld, summary.contacts_created) == (40, 0)
    assert load.count("SELECT count(*) FROM event") == load.count("SELECT count(*) FROM contact") == 0
    assert '42,"unreadable time' in load.rejects
    summary = load("events", text, maps=MAPS, build=CREATE, strict=True, batch_rows=10)
    assert (outcome(summary), summary.withheld) == ((40, 40, 0, 0, 0), 0)
    assert load.count("SELECT count(*) FROM event") == 40
    assert load.rejects == ""


def test_strict_takes_back_contacts_consents_and_suppressions(load: Loading) -> None:
    text = "source_id,email,consent.orders,unsubscribed\n1,a@b.co,true,true\n,c@d.co,true,true\n"
    assert load("contacts", text, strict=True).withheld == 1
    for table in ("contact", "consent", "suppression"):
        assert load.count(f"SELECT count(*) FROM {table}") == 0


def test_a_summary_that_does_not_add_up_is_said(tmp_path: Path) -> None:
    Summary("a.csv", "utf-8", read=5, stored=2, duplicate=1, corrected=1, rejected=1).check()
    with pytest.raises(EvergreetError, match="does not add up: 5 rows read, 4 accounted for"):
        Summary("a.csv", "utf-8", read=5, stored=2, duplicate=1, rejected=1).check()


def test_a_header_without_rows_is_an_import_of_nothing(load: Loading) -> None:
    assert outcome(load("contacts", "source_id,email\n")) == (0, 0, 0, 0, 0)


def test_rejected_rows_are_listed_as_they_stood_in_the_file(load: Loading) -> None:
    load("contacts", 'source_id,name\n,"Ann, the\nfirst"\n2\n3,Bob\n')
    with (load.folder / "rejects.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["line", "reason", "row"],
            ["2", "no source_id: source_id is empty", ',"Ann, the\nfirst"'],
            ["4", "ragged row: it has 1 columns, the header has 2", "2"],
        ]


def test_the_rejects_file_stands_beside_the_input_and_goes_when_all_is_well(load: Loading) -> None:
    beside = load.folder / "input.csv.rejects.csv"
    load("contacts", "source_id\n1\n \n", rejects=None)
    assert "no source_id" in beside.read_text()
    load("contacts", "source_id\n1\n", rejects=None)
    assert not beside.exists()
    beside.write_text("my own notes\n")
    load("contacts", "source_id\n1\n", rejects=None)
    assert beside.read_text() == "my own notes\n"


def test_a_rejects_file_that_cannot_be_one_is_a_sentence(tmp_path: Path) -> None:
    source = tmp_path / "input.csv"
    source.touch()
    for path, sentence in (
        (source, "the input itself"),
        (tmp_path, "folder"),
        (tmp_path / "no" / "x.csv", "no folder"),
    ):
        with pytest.raises(DataError, match=sentence):
            RejectsFile(path, source)


_KILLED = """
import os, signal, sys
from functools import partial
from pathlib import Path
from sqlalchemy import event
from evergreet.clock import FrozenClock
from evergreet.database import Database
from tests.importing.conftest import Loading
from tests.conftest import NOW

url, folder, hook, at = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
database = Database(url)
seen = 0

def die(*_):
    global seen
    seen += 1
    if seen == at:
        os.kill(os.getpid(), signal.SIGKILL)

event.listen(database.engine, hook, die)
load = Loading(database, FrozenClock(NOW), folder)
load("events", folder / "log.csv", maps={"contact": "user", "email": "{user}@example.test"},
     build={"create_contacts": True}, batch_rows=25)
"""


@pytest.mark.parametrize(("hook", "at"), [("commit", 1), ("commit", 3), ("begin", 4), ("before_cursor_execute", 9)])
def test_the_same_command_goes_on_after_a_kill(
    hook: str, at: int, database_url: str, tmp_path: Path, clock: FrozenClock
) -> None:
    """Killed before a COMMIT, after one (at the next BEGIN) and in the middle of a batch."""
    (tmp_path / "log.csv").write_text(_log(100))
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, database_url, str(tmp_path), hook, str(at)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    database = Database(database_url)
    load = Loading(database, clock, tmp_path)
    survived = load.count("SELECT count(*) FROM event")
    assert survived % 25 == 0
    assert survived < 100
    summary = load("events", tmp_path / "log.csv", maps=MAPS, build=CREATE, batch_rows=25)
    assert outcome(summary) == (100, 100 - survived, survived, 0, 0)
    assert load.count("SELECT count(*) FROM event WHERE NOT superseded AND revision = 0") == 100
    assert load.count("SELECT count(*) FROM contact") == load.count("SELECT count(DISTINCT contact_id) FROM event")
    database.close()


def test_importers_at_once_store_every_row_once(database_url: str, tmp_path: Path, clock: FrozenClock) -> None:
    """Two read the same log, two others read contacts of the same source backwards: no deadlock, nothing missed."""
    log = _log(400, users=40)
    people = [f"u{number},p{number}@example.com,true\n" for number in range(40)]
    jobs: dict[str, tuple[str, str, dict[str, Any]]] = {
        "a": ("events", log, {"maps": MAPS, "build": CREATE}), "b": ("events", log, {"maps": MAPS, "build": CREATE}),
        "c": ("contacts", "source_id,email,unsubscribed\n" + "".join(people), {}),
        "d": ("contacts", "source_id,email,unsubscribed\n" + "".join(reversed(people)), {}),
    }  # fmt: skip
    done: dict[str, Summary] = {}
    databases = {name: Database(database_url) for name in jobs}
    together = threading.Barrier(len(jobs))

    def work(name: str) -> None:
        (tmp_path / name).mkdir()
        kind, text, options = jobs[name]
        load = Loading(databases[name], clock, tmp_path / name)
        together.wait(20)
        done[name] = load(kind, text, batch_rows=20, **options)

    threads = [threading.Thread(target=work, args=(name,)) for name in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert sorted(done) == ["a", "b", "c", "d"]
    look = Loading(databases["a"], clock, tmp_path)
    assert done["a"].stored + done["b"].stored == 400 == look.count("SELECT count(*) FROM event")
    assert done["a"].duplicate + done["b"].duplicate == 400
    assert look.count("SELECT count(*) FROM contact") == 40
    assert look.count("SELECT count(*) FROM suppression") == 40
    assert look.count("SELECT count(*) FROM contact WHERE email LIKE 'p%'") == 40
    for database in databases.values():
        database.close()


def test_memory_does_not_grow_with_the_file(load_embedded: Loading) -> None:
    def peak(rows: int) -> int:
        path = load_embedded.file(_log(rows), f"log{rows}.csv")
        tracemalloc.start()
        try:
            load_embedded("events", path, maps=MAPS, build=CREATE, batch_rows=100, source=str(rows))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small = peak(2000)  # what is remembered of values is full by then
    assert peak(6000) < 1.3 * small


def test_progress_is_told_in_bytes_up_to_the_end(load_embedded: Loading) -> None:
    from functools import partial

    from evergreet.importing import contacts
    from evergreet.importing.run import Job, run_import

    told: list[tuple[str, int, int | None]] = []

    class Told:
        def progress(self, phase: str, done: int, total: int | None) -> None:
            told.append((phase, done, total))

    path = load_embedded.file("source_id\n" + "".join(f"{number}\n" for number in range(50)))
    run_import(
        load_embedded.database, Job(path, batch_rows=20), partial(contacts.ContactImport), fields=contacts.FIELDS,
        required={}, clock=load_embedded.clock, reporter=Told(),
    )  # fmt: skip
    size = path.stat().st_size
    assert [phase for phase, _, _ in told] == ["import"] * 3
    assert told[-1][1:] == (size, size)


def test_a_full_disk_is_a_sentence_and_the_import_goes_on_later(load_embedded: Loading) -> None:
    load, limits = load_embedded, [60]

    def limit(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {limits[0]}")

    event.listen(load.database.engine, "connect", limit)
    with pytest.raises(EvergreetError, match=r"disk of the database .* is full"):
        load("events", _log(2000), maps=MAPS, build=CREATE, batch_rows=50)
    stored = load.count("SELECT count(*) FROM event")
    assert stored % 50 == 0
    assert stored < 2000
    load.database.engine.dispose()
    limits[0] = 100_000
    assert outcome(load("events", _log(2000), maps=MAPS, build=CREATE)) == (2000, 2000 - stored, stored, 0, 0)


def test_a_full_temporary_folder_is_a_sentence(load_embedded: Loading, monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(RowMemory):
        def __init__(self) -> None:
            super().__init__()
            self._store.execute("PRAGMA max_page_count = 5")

    monkeypatch.setattr("evergreet.importing.run.RowMemory", Small)
    with pytest.raises(EvergreetError, match="SQLITE_TMPDIR"):
        load_embedded("events", _log(2000), maps=MAPS, build=CREATE)
