"""Commands as a person types them, with what is printed and the exit code; nothing between them and `main`."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from evergreet.cli import main
from evergreet.settings import settings


@dataclass(frozen=True)
class Answer:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """What a command that failed says: one line on standard error after its progress, and no traceback."""
        assert self.code == 1, (self.code, self.out, self.err)
        assert "Traceback" not in self.err
        *progress, line = self.err.strip().splitlines()
        assert all(re.fullmatch(r"(enrolled|planned|sent) \d+( of \d+)?", said) for said in progress), self.err
        return line


Type = Callable[..., Answer]
Typing = Callable[[str], Type]


def type_on(url: str, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    """Type commands that work on this database and send to this mail server."""
    for name, value in {
        "DATABASE_URL": url, "SECRET_KEYS": '["a key of tests"]', "EMAIL": "smtp", "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(port), "SMTP_SECURITY": "none",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"EVERGREET_{name}", value)

    def evergreet(*words: str) -> Answer:
        settings.cache_clear()
        monkeypatch.setattr(sys, "argv", ["evergreet", *words])
        capsys.readouterr()
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        else:
            code = 0
        printed = capsys.readouterr()
        return Answer(code, printed.out, printed.err)

    return evergreet
