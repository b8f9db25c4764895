"""All messages of a template root on one page, to look at them side by side; it needs no network."""

import re
from dataclasses import dataclass, field, replace
from html import unescape
from pathlib import Path
from typing import Literal

from jinja2 import Environment, PackageLoader

from evergreet.errors import EvergreetError
from evergreet.internal_rendering import RenderedInternal
from evergreet.preview import AnyRendered, Proof, proofread, read_sample, render
from evergreet.rendering import MessageContext, Rendered
from evergreet.settings import Settings
from evergreet.sms_rendering import RenderedSms
from evergreet.template_sources import template_names, template_root

_HIDDEN = re.compile(r"<(\w+)[^>]*style=\"[^\"]*display:\s*none[^\"]*\"[^>]*>(.*?)</\1>", re.DOTALL)
_FILLERS = re.compile("[\u00a0\u034f\u2007\u200b\u200c\u200d\ufeff]")
_PICTURE = re.compile(r"(<img\b[^>]*?\bsrc=\")[^\"]*")
_SCHEME = re.compile(r"\(\s*prefers-color-scheme\s*:\s*(light|dark)\s*\)")

_STAND_IN = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 12 7'%3E"
    "%3Crect width='12' height='7' fill='%239fb0a6'/%3E%3C/svg%3E"
)


@dataclass(frozen=True, slots=True)
class Shown:
    """One message of the gallery: rendered with its sample and looked over, or why it cannot be."""

    name: str
    context: MessageContext | None = None
    rendered: AnyRendered | None = None
    proof: Proof = field(default_factory=Proof)
    error: str | None = None

    @property
    def folder(self) -> str:
        """The campaign's folder; empty for a message beside the campaigns."""
        return self.name.rpartition("/")[0]

    @property
    def to_mend(self) -> tuple[str, ...]:
        """Why it cannot be made, or what is wrong with what was made."""
        return self.proof.faults if self.error is None else (f"{self.name}: {self.error}",)

    @property
    def by_sms(self) -> bool:
        """Whether it is an SMS."""
        return isinstance(self.rendered, RenderedSms)

    @property
    def internal(self) -> bool:
        """Whether it goes to our own people or systems."""
        return isinstance(self.rendered, RenderedInternal)

    @property
    def _html(self) -> str:
        return self.rendered.html if isinstance(self.rendered, Rendered) else ""

    @property
    def preheader(self) -> str:
        """What an inbox shows beside the subject: the words of the first hidden element."""
        found = _HIDDEN.search(self._html)
        return " ".join(_FILLERS.sub(" ", unescape(re.sub("<[^>]*>", " ", found[2]))).split()) if found else ""

    def in_scheme(self, scheme: Literal["light", "dark"]) -> str:
        """Return the HTML as a reader of that colour scheme sees it, whatever the browser's own scheme is.

        A grey field stands in for each picture: the page fetches nothing.
        """
        html = _PICTURE.sub(lambda found: found[1] + _STAND_IN, self._html)
        return _SCHEME.sub(lambda asked: "(min-width: 0)" if asked[1] == scheme else "(max-width: 0)", html)


def all_messages(settings: Settings, locale: str | None = None) -> list[Shown]:
    """Render every message of the template root with its sample, read in a locale; a broken one carries its error."""
    return [_shown(settings, name, locale) for name in template_names(settings.templates)]


def write_page(folder: Path, shown: list[Shown], settings: Settings) -> Path:
    """Write `index.html`, with everything that is on it, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = Environment(loader=PackageLoader("evergreet", "web/pages"), autoescape=True, trim_blocks=True)
    page = folder / "index.html"
    page.write_text(
        environment.get_template("gallery.html").render(
            shown=shown,
            broken=sum(one.error is not None for one in shown),
            faulty=sum(bool(one.proof.faults) for one in shown),
            company=settings.company,
            root=str(template_root(settings.templates)),
        ),
        encoding="utf-8",
    )
    return page


def _shown(settings: Settings, name: str, locale: str | None) -> Shown:
    try:
        context, _ = read_sample(settings.templates, name, settings)
        context = replace(context, locale=locale or context.locale)
        rendered = render(settings, name, context)
        return Shown(name, context, rendered, proofread(settings, name, context, rendered))
    except EvergreetError as error:
        return Shown(name, error=str(error))
