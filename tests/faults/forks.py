"""A process that has done everything once and forks itself for each task: a warm start costs milliseconds.

It has one thread whenever it forks. What SQLAlchemy has compiled is kept between tasks, since a database of the
same kind speaks the same SQL.
"""

import gc
import os
import pickle
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from typing import Any, Self

from sqlalchemy import Engine, event

from tests.faults.children import Child, context, speak_and_exit, start


class _Compiled(dict[Any, Any]):
    """What was compiled, by statement and kind of database instead of by engine."""

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__((key[0].name, *key[1:]))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__((key[0].name, *key[1:]), value)

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get((key[0].name, *key[1:]), default)


_compiled = _Compiled()


def _serve(speak: Callable[[Any], None], orders: Pipe) -> None:
    event.listen(Engine, "engine_connect", lambda connection: connection.execution_options(compiled_cache=_compiled))
    while (order := orders.recv()) is not None:
        fork, task, arguments = order
        if fork:
            speak(_in_a_fork(task, arguments))
        else:
            speak(("done", task(lambda word: None, *arguments)))
            gc.collect()
            gc.freeze()  # no fork looks through, and so copies, what is here already


def _in_a_fork(task: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Run a task in a fork; return its last word, None when it had none."""
    here, there = context.Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        gc.disable()
        here.close()
        speak_and_exit(there, task, arguments)
    there.close()
    said = None
    try:
        while True:
            said = here.recv()
    except (EOFError, pickle.UnpicklingError):
        pass
    here.close()
    os.waitpid(child, 0)
    return said


class ForkServer:
    """The process, and what may be asked of it."""

    def __init__(self) -> None:
        there, self._orders = context.Pipe(duplex=False)
        self._process: Child = start(_serve, there)
        there.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._orders.closed:
            self._orders.close()
        self._process.close()

    def warm_up(self, task: Callable[..., Any], *arguments: Any) -> Any:
        """Run a task in the server itself, so that all later ones find what it has imported and compiled."""
        return self._ask(False, task, arguments)

    def run(self, task: Callable[..., Any], *arguments: Any) -> Any:
        """Run a task in a fork; return its last word."""
        return self._ask(True, task, arguments)

    def _ask(self, fork: bool, task: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        self._orders.send((fork, task, arguments))
        said = self._process.hear()
        assert said is not None, "the fork server has ended"
        assert said[0] != "failed", f"a child process failed:\n{said[1]}"
        return said
