"""What is done to every part of a message after the template: it is made fit to be sent."""

import re

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
"""Control characters but tab and line feed; no part of a message holds them."""

_TRAILING = re.compile("[ \t\u00a0]+$", re.MULTILINE)
_GAPS = re.compile("\n{3,}")


def single_line(text: str) -> str:
    """Fold a subject into one line: a line break in a name must never become a header."""
    return CONTROL.sub("", " ".join(text.split()))


def tidy(text: str) -> str:
    """Take out blanks at line ends and runs of empty lines."""
    return _GAPS.sub("\n\n", _TRAILING.sub("", CONTROL.sub("", text))).strip("\n") + "\n"
