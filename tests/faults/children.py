"""Child processes for faults: forked from a server that has imported everything, observed, and killed at boundaries.

A boundary is a COMMIT or a write to a socket. The hooks are installed here, in the child; the product has none.
"""

import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any, Literal, NoReturn

import psutil
from sqlalchemy.engine.default import DefaultDialect

from evergreet.errors import EvergreetError
from tests.faults.sink import DEADLINE

When = Literal["before", "after"]

context: ForkServerContext = get_context("forkserver")
context.set_forkserver_preload(["tests.faults.scenario", "tests.chaos.workers"])

_one_at_a_time = threading.Lock()

_SMTP = {"EHLO", "MAIL", "RCPT", "DATA", "RSET", "QUIT"}
_PASSED_OVER = {"write", "writing", "transaction", "_ask"}
"""Functions that only carry a transaction; the label names who asked for it."""


@dataclass
class Boundaries:
    """Counts the boundaries that a process passes, and kills it at one of them: by number, or the first of a name."""

    kill_at: int | str | None = None
    kill_when: When = "before"
    phase: str = ""
    labels: list[str] = field(default_factory=list)
    dying: Callable[[str], None] | None = None

    @contextmanager
    def around(self, what: str) -> Iterator[None]:
        """Pass one boundary."""
        label = f"{self.phase}: {what}" if self.phase else what
        with _one_at_a_time:
            number = len(self.labels)
            self.labels.append(label)
        here = label.endswith(self.kill_at) if isinstance(self.kill_at, str) else number == self.kill_at
        if here and self.kill_when == "before":
            self._die(label)
        yield
        if here and self.kill_when == "after":
            self._die(label)

    def _die(self, label: str) -> None:
        if self.dying is not None:
            self.dying(label)
        os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Wrap what commits and what writes to sockets, in this process."""
        commit, send, sendall = DefaultDialect.do_commit, socket.socket.send, socket.socket.sendall

        def do_commit(dialect: DefaultDialect, connection: Any) -> None:
            with self.around(f"commit of {asker()}"):
                commit(dialect, connection)  # type: ignore[no-untyped-call]

        def write(to: socket.socket, data: Any, *flags: int) -> int:
            with self.around(f"write of {_what(data)}"):
                return send(to, data, *flags)

        def write_all(to: socket.socket, data: Any, *flags: int) -> None:
            with self.around(f"write of {_what(data)}"):
                sendall(to, data, *flags)

        DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]
        socket.socket.send = write  # type: ignore[assignment,method-assign]
        socket.socket.sendall = write_all  # type: ignore[assignment,method-assign]


def asker() -> str:
    """Name the function of the product that this commit belongs to."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if module.startswith("evergreet.") and function not in _PASSED_OVER:
            return f"{module.removeprefix('evergreet.')}.{function}"
        frame = frame.f_back
    return "nobody"


def _what(data: Any) -> str:
    line = bytes(data).partition(b"\r\n")[0].split()[0].decode("ascii", "replace")
    return line.upper() if line.upper() in _SMTP else "the content"


@dataclass
class Child:
    """A process that was started, and what it says."""

    process: ForkServerProcess
    pipe: Pipe
    said: list[Any] = field(default_factory=list)

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        os.kill(self.pid, number)

    def stopped(self) -> bool:
        """Whether SIGSTOP has reached it."""
        return bool(psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)

    def hear(self) -> Any:
        """Wait for the next word; None when the process has ended."""
        assert self.pipe.poll(DEADLINE), f"a child process said nothing for {DEADLINE:g} s"
        try:
            self.said.append(self.pipe.recv())
        except EOFError:
            return None
        return self.said[-1]

    def end(self) -> Any:
        """Wait for the end and return the last word: ("done", result), ("refused", error, sentence), ("killed", …)."""
        try:
            while self.hear() is not None:
                pass
        finally:
            self.close()
        last = self.said[-1] if self.said else None
        assert last is None or last[0] != "failed", f"a child process failed:\n{last[1]}"
        return last

    def close(self) -> None:
        """See to it that it has ended; harmless when it was done before."""
        if self.pipe.closed:
            return
        self.pipe.close()
        self.process.join(0.5)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join(DEADLINE)
        self.process.close()


def start(task: Callable[..., Any], *arguments: Any) -> Child:
    """Run a task in a process of its own; it gets a function to speak with before its arguments."""
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=speak_and_exit, args=(there, task, arguments), daemon=True)
    process.start()
    there.close()
    return Child(process, here)


def speak_and_exit(pipe: Pipe, task: Callable[..., Any], arguments: tuple[Any, ...]) -> NoReturn:
    """Run a task, say how it ended, and leave without any cleaning up."""
    try:
        pipe.send(("done", task(pipe.send, *arguments)))
    except EvergreetError as error:
        pipe.send(("refused", type(error).__name__, str(error)))
    except BaseException:  # whatever it is, the test must hear of it
        pipe.send(("failed", traceback.format_exc()))
    finally:
        pipe.close()
        os._exit(0)
