"""Telling what goes on: a spinner with words on a terminal, plain lines elsewhere; a tick when a step is done."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Step:
    """One step of the story, while it is under way."""

    def __init__(self, narrator: "Narrator", title: str) -> None:
        self._narrator = narrator
        self._title = title
        self.result = ""

    def say(self, words: str) -> None:
        """Show how far it is."""
        self._narrator.update(f"{self._title}: {words}")

    def done(self, result: str) -> None:
        """Say what came out; shown when the step ends."""
        self.result = result


class Narrator:
    """Prints the story to a console."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._status = console.status("", spinner="dots") if console.is_terminal else None

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Announce a step at once, and say what came out and how long it took when it is done."""
        begun = time.monotonic()
        step = Step(self, title)
        if self._status is None:
            self.console.print(f"… {title}")
        else:
            self._status.update(title)
            self._status.start()
        try:
            yield step
        finally:
            if self._status is not None:
                self._status.stop()
        seconds = f"[dim]{time.monotonic() - begun:.1f} s[/]"
        self.console.print(f"[green]✔[/] {title}: {step.result} {seconds}")

    def update(self, words: str) -> None:
        """Change the words beside the spinner; nothing where the output is not a terminal."""
        if self._status is not None:
            self._status.update(words)
