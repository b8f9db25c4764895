"""The links of marketing emails: led over `/c/…`, so that clicks are known, and named for web statistics (UTM).

Only the HTML part is written anew; who reads the text part sees where a link goes. What happens to a message is defined
by `in_html`; `in_split` does the same to a skeleton, once for all messages of it, and only where no value of a message
can change what is a tag and what is not.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape, unescape
from typing import TypeAlias
from urllib.parse import urlencode, urlsplit

from evergreet.contracts import Skeleton, Split
from evergreet.settings import Settings
from evergreet.splitting import skeleton_of
from evergreet.tokens import CLICKABLE, Tokens

CLICKS = "/c/"
"""Where clicks arrive, below `EVERGREET_PUBLIC_URL`."""

SKELETONS_AT_MOST = 1000
"""Skeletons that are kept; a step has one for each way through its template."""

_OWN = ("/u/", "/preferences/", CLICKS)
_SLOT = "\0"  # stands in no message: control characters are taken out
_TAG = re.compile(
    r"""<!--.*?--> | <(?:style|script)\b.*?</(?:style|script)\s*> | <[!?][^<>]*> |
    (?P<link><(?:a|area)(?=[\s/]))(?:[^"'<>]|"[^"]*"|'[^']*')*> | </?[a-z](?:[^"'<>]|"[^"]*"|'[^']*')*>""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_ATTRIBUTE = re.compile(r"""(?P<name>[^\s"'<>/=]+)\s*=\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)')|"[^"]*"|'[^']*'""")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_MARKUP = re.compile("[<>\"']")

Pieces: TypeAlias = tuple[str | int, ...]


@dataclass(slots=True)
class _Plan:
    """A skeleton whose links are slots: `links` are where those lead, or the pieces of what stood there.

    `slots` are those in the HTML; `proven` once a message of it came out as `in_html` has it.
    """

    skeleton: Skeleton
    links: tuple[str | Pieces, ...]
    slots: tuple[int, ...]
    proven: bool = False


class LinkWriter:
    """Writes the links of the emails of one step; several threads may."""

    def __init__(self, settings: Settings, tokens: Tokens, campaign: str, step: str) -> None:
        public = settings.public_url.rstrip("/")
        self.active = settings.track_clicks or bool(settings.utm_domains)
        self._tokens = tokens if settings.track_clicks else None
        self._clicks = escape(f"{public}{CLICKS}")
        self._own = tuple(public + path for path in _OWN)
        self._domains = frozenset(domain.casefold() for domain in settings.utm_domains)
        self._names = {
            "utm_source": settings.utm_source, "utm_medium": "email", "utm_campaign": campaign, "utm_content": step,
        }  # fmt: skip
        self._plans: dict[str, _Plan | None] = {}

    def in_html(self, html: str, row: int, key: str) -> str:
        """Return the HTML of the message of a ledger row with its links written anew."""
        spans = list(_spans(html))
        written = self._written([self._target(html[start:end]) for start, end in spans], row, key)
        parts: list[str] = []
        done = 0
        for (start, end), link in zip(spans, written, strict=True):
            parts += (html[done:start], html[start:end] if link is None else link)
            done = end
        return "".join((*parts, html[done:]))

    def in_split(self, split: Split, row: int, key: str) -> Split | None:
        """Return the message with its links written anew; None where that takes the whole HTML."""
        skeleton, values = split.skeleton, split.values
        if skeleton.key in (plans := self._plans):
            plan = plans.get(skeleton.key)
        else:
            plan = self._planned(skeleton)
            self._plans = {**plans, skeleton.key: plan} if len(plans) < SKELETONS_AT_MOST else {skeleton.key: plan}
        if plan is None or _MARKUP.search("".join([values[slot] for slot in plan.slots])):
            return None
        raw = [link if isinstance(link, str) else _filled(link, values) for link in plan.links]
        targets = [
            raw[number] if isinstance(link, str) else self._target(raw[number])
            for number, link in enumerate(plan.links)
        ]
        written = self._written(targets, row, key)
        links = (old if new is None else new for old, new in zip(raw, written, strict=True))
        made = Split(plan.skeleton, (*values, *links))
        if not plan.proven:
            if made.part("html") != self.in_html(split.part("html"), row, key):
                self._plans = {**self._plans, skeleton.key: None}
                return None
            plan.proven = True
        return made

    def _planned(self, skeleton: Skeleton) -> _Plan | None:
        html = "".join(_SLOT if isinstance(piece, int) else piece for piece in skeleton.html)
        if not _is_steady(html):
            return None
        slots = tuple(piece for piece in skeleton.html if isinstance(piece, int))
        waiting = iter(slots)
        pieces: list[str | int] = []
        links: list[str | Pieces] = []
        done = 0
        for start, end in _spans(html):
            pieces += _pieces(html[done:start], waiting)
            stood, done = tuple(_pieces(html[start:end], waiting)), end
            link: str | Pieces | None = stood
            if all(isinstance(piece, str) for piece in stood):
                link = self._target("".join(map(str, stood)))
            if link is None or (isinstance(link, str) and self._tokens is None):
                pieces += stood if link is None else (escape(str(link)),)
            else:
                pieces.append(skeleton.slots + len(links))
                links.append(link)
        pieces += _pieces(html[done:], waiting)
        made = skeleton_of(skeleton.slots + len(links), skeleton.subject, tuple(pieces), skeleton.text)
        return _Plan(made, tuple(links), slots)

    def _target(self, written: str) -> str | None:
        """Return where a link leads, named for statistics; None where it is left as it stands."""
        url = unescape(written).strip()
        if url.startswith(self._own) or CLICKABLE.fullmatch(url) is None or not (host := _host(url)):
            return None
        named = self._named(url, host)
        if self._tokens is None:
            return named if named != url else None
        return named if CLICKABLE.fullmatch(named) else url

    def _named(self, url: str, host: str) -> str:
        """Return a link to a domain of the company with the UTM names that it does not have already."""
        parents = (host[at:] for at in (0, *(found.end() for found in re.finditer(r"\.", host))))
        if self._domains.isdisjoint(parents):
            return url
        rest, hash_sign, fragment = url.partition("#")
        path, _, query = rest.partition("?")
        given = {part.partition("=")[0].casefold() for part in query.split("&")}
        missing = urlencode({name: value for name, value in self._names.items() if name not in given})
        query = "&".join(filter(None, (query, missing)))
        return f"{path}?{query}{hash_sign}{fragment}" if query else url

    def _written(self, targets: Sequence[str | None], row: int, key: str) -> list[str | None]:
        """Return what is to stand for links that lead to these places."""
        if self._tokens is None:
            return [None if target is None else escape(target) for target in targets]
        tokens = iter(self._tokens.sign_clicks(row, key, [target for target in targets if target is not None]))
        return [None if target is None else self._clicks + next(tokens) for target in targets]


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _spans(html: str) -> Iterator[tuple[int, int]]:
    """Yield from where to where the address of each link stands, without its quotes."""
    for tag in _TAG.finditer(html):
        if tag["link"] is None:
            continue
        for attribute in _ATTRIBUTE.finditer(html, tag.end("link"), tag.end()):
            if attribute["name"] is not None and attribute["name"].lower() == "href":
                yield attribute.span("single" if attribute["double"] is None else "double")
                break


def _is_steady(html: str) -> bool:
    """Whether values without quotes and angle brackets leave all tags alone: each stands in text, or in quotes."""
    if "<" in _TAG.sub("", html):
        return False
    for tag in _TAG.finditer(html):
        written = tag[0]
        if written.startswith("<!--"):
            if re.search(f"{_SLOT}-?>", written):
                return False
        elif _SLOT in (_QUOTED.sub("", written) if tag["link"] or written[1] not in "!?" else written):
            return False
    return True


def _pieces(text: str, slots: Iterator[int]) -> Iterator[str | int]:
    for number, part in enumerate(text.split(_SLOT)):
        if number:
            yield next(slots)
        if part:
            yield part


def _filled(pieces: Pieces, values: Sequence[str]) -> str:
    return "".join([values[piece] if isinstance(piece, int) else piece for piece in pieces])
