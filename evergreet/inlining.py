"""A style sheet of a template's own, worked into the elements: mail programs drop sheets, but not `style`."""

import re
from functools import cache

from css_inline import CSSInliner

MARK = "<style data-inline>"
"""Begins a style sheet that is worked in; other sheets (dark mode, phones) stay as they are."""

_SHEET = re.compile(r"<style\b[^>]*>.*?</style\s*>", re.DOTALL | re.IGNORECASE)


def inlined(html: str) -> str:
    """Work the marked style sheets into the elements; their `@media` and other at-rules stay in a sheet."""
    label = "sheet"
    while label in html:
        label += "-"
    aside: list[str] = []

    def put_aside(found: re.Match[str]) -> str:
        if found[0].startswith(MARK):
            return found[0]
        aside.append(found[0])
        return f"<!--{label}{len(aside)}.-->"

    made: str = _inliner().inline(_SHEET.sub(put_aside, html))
    for number, sheet in enumerate(aside, 1):
        made = made.replace(f"<!--{label}{number}.-->", sheet)
    return made


@cache
def _inliner() -> CSSInliner:
    return CSSInliner(keep_at_rules=True, keep_link_tags=True, load_remote_stylesheets=False)
