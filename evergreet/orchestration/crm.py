"""Reading CRMs and writing back to them, as a flow run."""

import threading
from contextlib import closing
from functools import partial

from prefect.logging import get_run_logger

from evergreet.clock import DatabaseClock
from evergreet.commands.opening import open_database
from evergreet.crm.opening import open_sink, open_source, rules_of
from evergreet.crm.pulling import Pulled, pull
from evergreet.crm.pushing import Pushed, push
from evergreet.errors import ConnectorError, EvergreetError
from evergreet.importing.rejects import Rejected
from evergreet.merging.alike import Merged, merge_alike
from evergreet.orchestration.runs import failing_in_one_line
from evergreet.orchestration.threads import work_in_thread
from evergreet.settings import settings

TOLD = 20
"""How many rejected records of a CRM the log names; `evergreet crm pull` lists all."""


class _Stopped(Exception):
    """The run is to end; what was read is stored."""


class _Turn:
    """Ends a pull between two pages, where the run is ended."""

    def __init__(self) -> None:
        self._stopping = threading.Event()

    def progress(self, _phase: str, _done: int, _total: int | None) -> None:
        if self._stopping.is_set():
            raise _Stopped

    def stop(self) -> None:
        self._stopping.set()


async def read_crms() -> None:
    """Read the CRMs of the settings, merge who is one person, and write back.

    One that cannot be read or written to keeps no other from it, and fails the run at its end.
    """
    faults = []
    turn = _Turn()
    async with failing_in_one_line("crm"):
        for name in settings().crm:
            try:
                pulled, rejected = await work_in_thread(partial(_read, name, turn), turn.stop)
            except (EvergreetError, ConnectorError) as error:
                faults.append(f"{name}: {error}")
                continue
            get_run_logger().info(pulled.sentence)
            for record, why in rejected:
                get_run_logger().warning("%s, record %s: %s", name, record, why)
        if settings().crm:
            merged = await work_in_thread(_merge, turn.stop)
            if merged.total:
                get_run_logger().info("%s contacts turned out to be others: evergreet contacts merges", merged.total)
        for name in settings().crm_write:
            try:
                pushed = await work_in_thread(partial(_push, name, turn), turn.stop)
            except (EvergreetError, ConnectorError) as error:
                faults.append(f"{name}: {error}")
                continue
            get_run_logger().info(pushed.sentence)
        if faults:
            raise EvergreetError(" ".join(faults))


def _push(name: str, turn: _Turn) -> Pushed:
    with open_database() as database, closing(open_sink(name)) as sink:
        return push(database, sink, DatabaseClock(), reporter=turn)


def _merge() -> Merged:
    with open_database() as database:
        return merge_alike(database, DatabaseClock(), actor="crm")


def _read(name: str, turn: _Turn) -> tuple[Pulled, list[tuple[str, Rejected]]]:
    rejected: list[tuple[str, Rejected]] = []

    def refuse(record: str, why: Rejected) -> None:
        if len(rejected) < TOLD:
            rejected.append((record, why))

    with open_database() as database, closing(open_source(name)) as source:
        return pull(database, source, rules_of(name), DatabaseClock(), refuse=refuse, reporter=turn), rejected
