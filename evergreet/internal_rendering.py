"""Rendering what does not go to a contact: the JSON of a webhook, a note for Slack, a task in the CRM."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

import orjson
from jinja2 import Undefined

from evergreet.localization import Place, place_of, reading_in
from evergreet.posting import single_line, tidy
from evergreet.rendering import MessageContext, RenderError, Surroundings, catalogues_of, names_of, told_of
from evergreet.sandbox import environment
from evergreet.template_sources import FILES, TemplateSource


@dataclass(frozen=True, slots=True)
class Record:
    """What a system of somebody else's needs to know which message this is, and whom it is about.

    `key` is the same for every attempt; `source` and `source_id` are whose contact it is, and what it is called there.
    """

    key: str
    occurrence: str
    source: str
    source_id: str


@dataclass(frozen=True, slots=True)
class RenderedInternal:
    """The finished parts, by the names of their files."""

    parts: Mapping[str, str]

    @property
    def text(self) -> str:
        """All of them, one after the other."""
        return "\n\n".join(self.parts.values())


class InternalRenderer:
    """Renders one version of such a template; safe to use from several threads.

    In a `body.json` each `{{ … }}` writes a JSON value, quotes and all, so that no value can end the text it stands in.
    In a `slack.txt` values are escaped as Slack asks for: they cannot mention anybody or make a link.
    """

    def __init__(self, source: TemplateSource, surroundings: Surroundings) -> None:
        self.source = source
        catalogues = catalogues_of(source)
        self._place = lru_cache(maxsize=4096)(lambda locale, zone: place_of(locale, zone, catalogues))
        jinja = environment(
            source.sources, autoescape=source.channel == "slack",
            finalize=_as_json if source.channel == "webhook" else None, **asdict(surroundings),
        )  # fmt: skip
        if source.channel == "webhook":
            jinja.filters["tojson"] = _as_json
        try:
            self._parts = {file: jinja.get_template(f"{source.name}/{file}") for file in FILES[source.channel]}
        except Exception as error:
            raise told_of(error, source) from error

    def render(self, context: MessageContext, record: Record) -> RenderedInternal:
        """Make its parts; raises RenderError for this contact, and the next one may be fine."""
        place: Place = self._place(context.locale, context.timezone)
        values = names_of(context, place) | asdict(record)
        try:
            with reading_in(place):
                parts = {file: part.render(values) for file, part in self._parts.items()}
        except MemoryError:  # perhaps nobody's fault but the machine's
            raise
        except Exception as error:
            raise told_of(error, self.source) from error
        return RenderedInternal({file: self._finished(file, text) for file, text in parts.items()})

    def _finished(self, file: str, text: str) -> str:
        if file == "body.json":
            return self._json(text.strip())
        done = single_line(text) if file == "title.txt" else tidy(text).strip()
        if not done and file != "text.txt":
            raise RenderError(f"{self.source.name}/{file}, line 1: it is empty")
        # Slack knows three entities, https://docs.slack.dev/messaging/formatting-message-text/#escaping
        return done.replace("&#34;", '"').replace("&#39;", "'") if file == "slack.txt" else done

    def _json(self, text: str) -> str:
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise RenderError(
                f"{self.source.name}/body.json: what comes out is not JSON: {error}. Each {{{{ … }}}} writes a whole "
                'value, with its quotes: {"name": {{ contact.first_name }}}'
            ) from None
        return text


class _Json(str):
    """What is JSON already."""


def _as_json(value: Any) -> _Json:
    if isinstance(value, _Json):
        return value
    if isinstance(value, Undefined):
        str(value)  # says what is missing
    return _Json(json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain))


def _plain(value: Any) -> Any:
    """Return what JSON has for a value that it does not know."""
    if isinstance(value, date):  # a moment is one as well
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")
