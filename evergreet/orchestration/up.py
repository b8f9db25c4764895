"""`make up`: Prefect on this machine, with UI, worker and all deployments, until Ctrl-C.

Everything it starts ends with it: asked to by SIGINT, SIGTERM or SIGHUP, or with the process itself
(`evergreet.orchestration.process`).
"""

import fcntl
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer

from evergreet.commands.opening import open_database
from evergreet.database import upgrade
from evergreet.errors import EvergreetError
from evergreet.orchestration.local import LocalPrefect, local_prefect
from evergreet.orchestration.server import LocalPrefectError, free_port
from evergreet.settings import settings

PORT = 4200
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stop(BaseException):
    """Somebody asked us to end."""


def main() -> int:
    """Run until asked to stop; 0 after a clean stop, 1 when something could not be started or ended by itself."""
    for number in SIGNALS:  # also where a script's `&` left SIGINT ignored
        signal.signal(number, _ask_to_stop)
    try:
        _run()
    except _Stop:
        typer.echo("Stopped; nothing is left running.")
        return 0
    except EvergreetError as error:
        typer.secho(str(error), err=True, fg="red")
        return 1


def _ask_to_stop(number: int, _frame: object) -> NoReturn:
    for other in SIGNALS:  # stopping takes half a minute at most and is not to be interrupted
        signal.signal(other, signal.SIG_IGN)
    typer.echo("Stopping …")
    raise _Stop


def _run() -> NoReturn:
    home = (settings().data_dir / "prefect").resolve()
    with _only_one(home):
        typer.echo("Bringing the database up to date …")
        with open_database(checked=False) as database:
            upgrade(database)
        with local_prefect(Path.cwd(), home, free_port(PORT), tell=typer.echo) as local:
            typer.echo(_welcome(local, home))
            while True:
                for child in (local.server, local.worker):
                    if child.ended:
                        raise LocalPrefectError(f"The {child.name} ended.\n{child.last_words()}\nLog: {child.log}")
                time.sleep(0.5)


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalPrefectError(f"Prefect is running here already ({home}); stop that one first.") from None
        yield


def _welcome(local: LocalPrefect, home: Path) -> str:
    return f"""
Prefect is up: {local.url}
  Runs         what each campaign did; every run has a page with its balance under Artifacts
  Deployments  run a campaign by hand, change its options, pause it
Logs: {home / "logs"}

Next, in another terminal:
  evergreet import contacts FILE     then  evergreet import events FILE
  evergreet launch thank-you         from now on it takes in what happens; dispatch looks every minute
  evergreet campaigns                how every campaign stands

Ctrl-C stops everything.
"""


if __name__ == "__main__":
    sys.exit(main())
