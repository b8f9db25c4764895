"""Pictures of figures: one SVG file that needs nothing else, light and dark, with its numbers as text.

What is drawn is described in words as well (`title` and `desc`), for those who listen to a page.
"""

import unicodedata
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from evergreet.errors import DataError

WIDTH = 920
"""Width of every picture, in its own units; it scales to the page it is on."""


def render(template: str, *, package: str = "evergreet.pictures", **values: Any) -> str:
    """Fill in a template of this folder, or of another package that has its own; every value is escaped."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader("evergreet.pictures", ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(width=WIDTH, **values)


def save(svg: str, path: Path) -> None:
    """Write a picture; a place that cannot be written to, or the name of another kind of file, is a sentence."""
    if path.suffix.lower() != ".svg":
        raise DataError(f"The picture is an SVG file: give it a name such as {path.stem or 'picture'}.svg, not {path}.")
    try:
        path.write_text(svg, encoding="utf-8", newline="\n")
    except OSError as error:
        raise DataError(f"The picture cannot be written to {path}: {error.strerror or error}.") from error


def wrapped(text: str, room: float, size: float) -> list[str]:
    """Break a text into lines that fit `room` at a font size, whatever the font: widths are guessed high.

    Words that are too long for a line are cut, after a hyphen where they have one.
    """
    lines, line = [], ""
    for word in text.split():
        rest = word
        while rest:
            joined = f"{line} {rest}" if line else rest
            if width_of(joined, size) <= room:
                line, rest = joined, ""
            elif line:
                lines.append(line)
                line = ""
            else:
                fitting = next(n for n in range(len(rest), 0, -1) if n == 1 or width_of(rest[:n], size) <= room)
                fitting = rest.rfind("-", 0, fitting) + 1 or fitting
                lines.append(rest[:fitting])
                rest = rest[fitting:]
    return [*lines, line] if line else lines


def width_of(text: str, size: float) -> float:
    """Return the width of a text in a sans-serif font, rather too much than too little."""
    return sum(_share(letter) for letter in text) * size


def _share(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.1
    if letter in "mwMWQO@%&" or letter.isupper():
        return 1.12 if letter in "mMwW@%" else 0.86
    return 0.36 if letter in "iljft.,:;'|! " else 0.7
