"""Reading a rendered email before anyone gets it: what could be sent but not be shown, with the line to mend."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import asdict
from html.parser import HTMLParser
from itertools import accumulate
from urllib.parse import urlsplit

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream

from evergreet.localization import place_of, reading_in
from evergreet.rendering import MessageContext, Surroundings, TemplateSource, catalogues_of, names_of
from evergreet.sandbox import environment

CUT_AT = 102 * 1024
"""Octets of HTML after which Gmail hides the rest of a message behind a link."""

_BEGIN, _END = "\ufdd1", "\ufdd2"  # noncharacters (Unicode 23.7): no template has them
_MARK = re.compile(f"{_BEGIN}([^{_END}]*){_END}")
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
_ENDS_BY_ITSELF = {"html", "head", "body", "p", "li", "dt", "dd", "option", "colgroup", "thead", "tbody", "tfoot"}
"""Elements whose end tag may be left out (HTML 13.1.2.4); for cells and rows mail programs disagree."""

_LEADS_SOMEWHERE = re.compile(r"https?://[^\s/]|(mailto|tel|sms):\S|cid:\S|#", re.IGNORECASE)


def faults(source: TemplateSource, surroundings: Surroundings, context: MessageContext, size: int) -> list[str]:
    """Return a sentence for each fault of an email that can be rendered: tags, links, pictures, and its `size`.

    `size` is in octets of HTML, as sent. Each sentence names the file and the line of the template that it is about.
    """
    body = f"{source.name}/body.html"
    plain, marked = (_rendered(source, surroundings, context, body, lines=lines) for lines in (False, True))
    html, places = _read(marked, _chain(source, body))
    if html != plain:  # a template that asks whether a piece of its own text is empty: without lines then
        html, places = plain, _Places(body)
    found = [f"{places.of(offset)}: {what}" for offset, what in sorted(_Reader(html).faults)]
    if size > CUT_AT:
        found.append(
            f"{body}: {size / 1024:.0f} KB of HTML. Gmail shows the first 102 KB and hides the rest, the unsubscribe "
            "link with it: write less, or link to what is long."
        )
    return list(dict.fromkeys(found))


class _Lines(Extension):
    """Marks each line of a template's own text, and each of its tags, with the file and the line it stands in."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """Mark what is text; not what is to be translated, or it would be another message."""
        begun = translated = False
        for token in stream:
            if begun and token.value in {"trans", "endtrans"}:
                translated = token.value == "trans"
            begun = token.type == "block_begin"
            if not translated and token.type == "data":
                lines = enumerate(token.value.split("\n"), token.lineno)
                text = "\n".join(_mark(stream.name, number) + line for number, line in lines)
                yield Token(token.lineno, "data", text)
                continue
            if not translated and token.type in {"block_begin", "variable_begin"}:
                yield Token(token.lineno, "data", _mark(stream.name, token.lineno))
            yield token


def _mark(file: str | None, line: int) -> str:
    return f"{_BEGIN}{file}, line {line}{_END}"


def _rendered(
    source: TemplateSource, surroundings: Surroundings, context: MessageContext, body: str, *, lines: bool
) -> str:
    jinja = environment(source.sources, **asdict(surroundings))
    if lines:
        jinja.add_extension(_Lines)
    place = place_of(context.locale, context.timezone, catalogues_of(source))
    with reading_in(place):
        return jinja.get_template(body).render(names_of(context, place))


def _chain(source: TemplateSource, body: str) -> list[str]:
    """Return the body and the layouts that it stands in."""
    jinja, chain = environment(source.sources), [body]
    while extends := jinja.parse(source.sources[chain[-1]]).find(nodes.Extends):
        chain.append(extends.template.value)  # type: ignore[attr-defined]
    return chain


class _Places:
    """Where in the templates each part of a text comes from."""

    def __init__(self, body: str) -> None:
        self._offsets = [0]
        self._places = [body]

    def add(self, offset: int, place: str) -> None:
        self._offsets.append(offset)
        self._places.append(place)

    def of(self, offset: int) -> str:
        return self._places[bisect_right(self._offsets, offset) - 1]


def _read(marked: str, chain: list[str]) -> tuple[str, _Places]:
    """Take the marks out of a text; return it, and what they said.

    What a part of `_base/components` writes is about the line that calls it, so that is named first.
    """
    places, parts, length, done, caller = _Places(chain[0]), [], 0, 0, chain[0]
    for mark in _MARK.finditer(marked):
        parts.append(marked[done : mark.start()])
        length += len(parts[-1])
        done = mark.end()
        if mark[1].partition(", line ")[0] in chain:
            caller = mark[1]
        places.add(length, caller if caller == mark[1] else f"{caller} ({mark[1]})")
    return "".join((*parts, marked[done:])), places


class _Reader(HTMLParser):
    """Collects what is wrong, each with its offset in the HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.faults: list[tuple[int, str]] = []
        self._open: list[tuple[str, int]] = []
        self._starts = [0, *accumulate(len(line) + 1 for line in html.split("\n"))]
        self.feed(html)
        self.close()
        self._end(len(self._open))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        at, given = self._offset(), dict(attrs)
        if tag not in _VOID:
            self._open.append((tag, at))
        if tag in {"a", "area"} and "href" in given:
            self._check(at, "link", given["href"])
        if tag == "img":
            self._check(at, "picture", given.get("src"))
            if given.get("alt") is None:
                self.faults.append((at, 'this picture has no alt="…": say what it shows, or alt="" for an ornament.'))

    def handle_endtag(self, tag: str) -> None:
        for depth, (name, _) in enumerate(reversed(self._open)):
            if name == tag:
                self._end(depth)
                self._open.pop()
                return
        if tag not in _VOID:
            self.faults.append((self._offset(), f"</{tag}> ends nothing: no <{tag}> is open here."))

    def _end(self, how_many: int) -> None:
        """Close the innermost elements, whose end tags are missing."""
        for _ in range(how_many):
            tag, at = self._open.pop()
            if tag not in _ENDS_BY_ITSELF:
                self.faults.append((at, f"<{tag}> is opened here and not closed: write </{tag}> where it ends."))

    def _check(self, at: int, what: str, url: str | None) -> None:
        url = (url or "").strip()
        if not url:
            self.faults.append((at, f"this {what} has no address."))
        elif not _LEADS_SOMEWHERE.match(url) or re.search(r"\s", url) or not _readable(url):
            self.faults.append((at, f"this {what} leads nowhere: {url[:80]!r}. Write it whole, with https://."))

    def _offset(self) -> int:
        line, column = self.getpos()
        return self._starts[line - 1] + column


def _readable(url: str) -> bool:
    try:
        return urlsplit(url).hostname != ""
    except ValueError:
        return False
