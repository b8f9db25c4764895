"""Rendering: one message for one contact, from sources that are data.

A `Renderer` needs no files: what it is built from is stored with the template version, so an old enrollment
gets the message it was promised, also after the template's folder is gone.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from inscriptis import get_text
from inscriptis.model.config import ParserConfig
from markupsafe import escape

from evergreet.campaign import Purpose
from evergreet.catalogues import catalogue, catalogue_language
from evergreet.errors import EvergreetError
from evergreet.localization import place_of, reading_in
from evergreet.sandbox import environment, place_of_error, sentence
from evergreet.template_sources import TemplateSource, load_template

__all__ = [
    "MessageContext",
    "RenderError",
    "Rendered",
    "Renderer",
    "Surroundings",
    "TemplateSource",
    "load_template",
]

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_TRAILING = re.compile("[ \t\u00a0]+$", re.MULTILINE)
_GAPS = re.compile("\n{3,}")
_LINKED = ParserConfig(display_links=True)


class RenderError(EvergreetError):
    """A message cannot be made for this contact: one line with the template, the line and what."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is the same for all messages of a company; templates, macros included, know these names."""

    company: str
    postal_address: str
    site_url: str


@dataclass(frozen=True, slots=True)
class MessageContext:
    """What a template may speak about.

    `contact` has id, first_name, last_name, email, locale, timezone and the free attributes, `event` the
    properties of the causing event (its newest revision), `options` what the campaign's version says.
    `locale` and `timezone` are the contact's or the defaults. `unsubscribe_url` is empty where a message
    needs none (transactional). `picked` holds what the campaign picks per contact (`pick(…)`), by name; `nth`
    is which anniversary it is.
    """

    contact: Mapping[str, Any]
    event: Mapping[str, Any]
    occurred_at: datetime
    options: Mapping[str, Any]
    locale: str
    timezone: str
    purpose: Purpose
    campaign: str
    step: str
    topic: str | None = None
    unsubscribe_url: str | None = None
    picked: Mapping[str, Any] = field(default_factory=dict)
    nth: int | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """A finished message; the subject is a single line."""

    subject: str
    html: str
    text: str


class Renderer:
    """Renders one template version; its templates are compiled once. Safe to use from several threads."""

    def __init__(self, source: TemplateSource, surroundings: Surroundings) -> None:
        self.source = source
        self._catalogues = {
            language: catalogue(language, text)
            for name, text in source.sources.items()
            if (language := catalogue_language(name))
        }
        jinja = environment(source.sources, **asdict(surroundings))
        try:
            self._subject = jinja.get_template(f"{source.name}/subject.txt")
            self._html = jinja.get_template(f"{source.name}/body.html")
            text = f"{source.name}/body.txt"
            self._text = jinja.get_template(text) if text in source.sources else None
        except Exception as error:
            raise self._told(error) from error

    def render(self, context: MessageContext) -> Rendered:
        """Make the message; raises RenderError for this contact, and the next one may be fine."""
        place = place_of(context.locale, context.timezone, self._catalogues)
        values = {name: getattr(context, name) for name in MessageContext.__slots__}
        values |= {"language": place.language, "direction": place.direction}
        try:
            with reading_in(place):
                subject = _single_line(self._subject.render(values))
                html = _CONTROL.sub("", self._html.render(values))
                text = _tidy(self._text.render(values) if self._text else get_text(html, _LINKED))
        except Exception as error:
            raise self._told(error) from error
        if not subject:
            raise RenderError(f"{self._subject.name}, line 1: the subject is empty")
        if context.purpose is Purpose.MARKETING:
            self._check_unsubscribe(context.unsubscribe_url, html, text)
        return Rendered(subject, html, text)

    def _check_unsubscribe(self, url: str | None, html: str, text: str) -> None:
        if not url:
            raise RenderError(f"{self.source.name}: a marketing email needs an unsubscribe link; none was given")
        for part, present in (("body.html", str(escape(url)) in html), ("body.txt", url in text)):
            if not present:
                raise RenderError(
                    f"{self.source.name}/{part}: a marketing email must carry its unsubscribe link; "
                    "print unsubscribe_url, as _base/layout does"
                )

    def _told(self, error: Exception) -> RenderError:
        where = place_of_error(error, self.source.sources)
        return RenderError(f"{f'{where[0]}, line {where[1]}' if where else self.source.name}: {sentence(error)}")


def _single_line(text: str) -> str:
    """Fold a subject into one line: a line break in a name must never become a header."""
    return _CONTROL.sub("", " ".join(text.split()))


def _tidy(text: str) -> str:
    return _GAPS.sub("\n\n", _TRAILING.sub("", _CONTROL.sub("", text))).strip("\n") + "\n"
