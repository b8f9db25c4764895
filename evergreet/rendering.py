"""Rendering: one message for one contact, from sources that are data.

A `Renderer` needs no files: what it is built from is stored with the template version, so an old enrollment
gets the message it was promised, also after the template's folder is gone.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cached_property
from gettext import NullTranslations
from operator import attrgetter
from threading import Lock
from typing import Any, NamedTuple

from markupsafe import escape

from evergreet.campaign import Purpose
from evergreet.catalogues import catalogue, catalogue_language
from evergreet.contracts import Split
from evergreet.errors import EvergreetError
from evergreet.inlining import MARK as STYLE_MARK
from evergreet.inlining import inlined
from evergreet.interception import TracingSandbox, tracing_environment
from evergreet.localization import Place, here, place_of, reading_in
from evergreet.plain_text import plain_text
from evergreet.posting import CONTROL, single_line, tidy
from evergreet.sandbox import environment, place_of_error, sentence
from evergreet.splitting import INPUTS, Filled, Inputs, Ways, filled, leaf_of
from evergreet.template_sources import TemplateSource, load_template
from evergreet.tracing import Constants, Trace

__all__ = [
    "Kind",
    "MessageContext",
    "RenderError",
    "Rendered",
    "Renderer",
    "Surroundings",
    "TemplateSource",
    "kind_of",
    "load_template",
]

PLACES_AT_MOST = 4096
"""Places (locale and zone) that are looked up once and kept."""

LANGUAGES_AT_MOST = 64
"""Trees of ways that are kept: one per language, and per set of options where these change."""


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
    properties of the causing event (its newest revision), `options` what the campaign's version says (one object
    for all messages of a version, and never changed in place).
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


class Kind(NamedTuple):
    """What is equal for all messages of one step of one version; `told` tells it apart from any other."""

    purpose: Purpose
    told: str


def kind_of(purpose: Purpose, campaign: str, step: str, topic: str | None, options: Mapping[str, Any]) -> Kind:
    """Return the kind of messages with all this in common."""
    return Kind(purpose, repr((str(purpose), campaign, step, topic, options)))


@dataclass(frozen=True, slots=True)
class Rendered:
    """A finished message; the subject is a single line.

    `split` says the same as a skeleton and values where that is possible: not for a message whose text part is
    made of its HTML, or whose style sheet is worked into it.
    """

    subject: str
    html: str
    text: str
    split: Split | None = None


class Renderer:
    """Renders one template version; its templates are compiled once. Safe to use from several threads.

    What messages have in common is kept after the second of a kind (`evergreet.splitting`), so that a further one
    costs what differs in it. The bytes are those of a full rendering in any case. `full` counts the full
    renderings, `differences` the ways on which the two disagreed: then all of this template is rendered in full.
    """

    def __init__(self, source: TemplateSource, surroundings: Surroundings) -> None:
        self.source = source
        self.full = 0
        self.differences = 0
        self._catalogues = catalogues_of(source)
        self._jinja = environment(source.sources, **asdict(surroundings))
        try:
            self._subject = self._jinja.get_template(f"{source.name}/subject.txt")
            self._html = self._jinja.get_template(f"{source.name}/body.html")
            text = f"{source.name}/body.txt"
            self._text = self._jinja.get_template(text) if text in source.sources else None
        except Exception as error:
            raise told_of(error, self.source) from error
        self._places: dict[tuple[str, str], tuple[Place, tuple[Any, ...]]] = {}
        self._ways: dict[tuple[Any, ...], Ways] = {}
        self._kinds: tuple[Any, dict[tuple[Any, ...], Kind]] = (None, {})
        self._constants = Constants()
        self._learning = Lock()

    def render(self, context: MessageContext) -> Rendered:
        """Make the message; raises RenderError for this contact, and the next one may be fine."""
        place, language = self._place(context.locale, context.timezone)
        key = (*language, self._kind(context).told)
        ways = self._ways.get(key)
        made, known = self._filled(ways, place, _inputs(context)) if ways is not None else (None, False)
        if made is not None and made[0].proven:
            return self._finished(context, made)
        rendered = self.render_in_full(context)
        if made is not None:
            return self._proved(made, rendered)
        if not known and self.full > 1 and not self.differences and (ways is None or not ways.full):
            return self._learned(context, place, key, rendered)
        return rendered

    def split(self, kind: Kind, inputs: Inputs) -> tuple[str, Split] | None:
        """Return the subject and the message as skeleton and values; None where it must be rendered.

        The short way for the many: `inputs` are what a `MessageContext` has of those names, and `kind` all else.
        """
        if self._text is None:  # its text is made of its HTML
            return None
        _, _, _, locale, timezone, unsubscribe_url, _, _ = inputs
        place, language = self._place(locale, timezone)
        ways = self._ways.get((*language, kind.told))
        if ways is None:
            return None
        made, _known = self._filled(ways, place, inputs)
        if made is None:
            return None
        leaf, subject, _html, values = made
        if not leaf.proven:
            return None
        if kind.purpose is Purpose.MARKETING and not (leaf.shows_unsubscribe and unsubscribe_url):
            return None
        return subject, Split(leaf.skeleton, values)

    @property
    def ways(self) -> list[Ways]:
        """What is known of the template, per language and kind."""
        return list(self._ways.values())

    def _filled(self, ways: Ways, place: Place, inputs: Inputs) -> tuple[Filled | None, bool]:
        """Return what a known way makes of the inputs, and whether the way is known."""
        before = here.set(place)
        try:
            if ways.joined is not None and (made := ways.joined(*inputs)) is not None:
                return made, True
            leaf, known = ways.find(values := list(inputs))
            if leaf is None:
                return None, known
            ways.went_by_branches()
            return leaf.run(values), True
        except Exception:  # the full rendering says what is wrong
            return None, True
        finally:
            here.reset(before)

    def _finished(self, context: MessageContext, made: Filled) -> Rendered:
        leaf, subject, html, values = made
        split = Split(leaf.skeleton, values) if html is None else None
        if split is not None:
            html, text = split.part("html"), split.part("text")
        else:
            assert html is not None
            text = plain_text(html)
        if context.purpose is Purpose.MARKETING and not (leaf.shows_unsubscribe and context.unsubscribe_url):
            self._check_unsubscribe(context.unsubscribe_url, html, text)
        return Rendered(subject, html, text, split)

    def render_in_full(self, context: MessageContext) -> Rendered:
        """Make the message by Jinja alone."""
        self.full += 1
        place, _language = self._place(context.locale, context.timezone)
        values = names_of(context, place)
        try:
            with reading_in(place):
                subject = single_line(self._subject.render(values))
                html = CONTROL.sub("", self._html.render(values))
                if STYLE_MARK in html:
                    html = inlined(html)
                text = tidy(self._text.render(values)) if self._text else plain_text(html)
        except MemoryError:  # perhaps nobody's fault but the machine's
            raise
        except Exception as error:
            raise told_of(error, self.source) from error
        if not subject:
            raise RenderError(f"{self._subject.name}, line 1: the subject is empty")
        if context.purpose is Purpose.MARKETING:
            self._check_unsubscribe(context.unsubscribe_url, html, text)
        return Rendered(subject, html, text)

    def _kind(self, context: MessageContext) -> Kind:
        """Return the kind of a message; its options are one object for all messages of a version."""
        options, kinds = self._kinds
        if options is not context.options:
            self._kinds = context.options, (kinds := {})
        fixed = (context.purpose, context.campaign, context.step, context.topic)
        found = kinds.get(fixed)
        if found is None:
            found = kinds[fixed] = kind_of(*fixed, context.options)
        return found

    def _place(self, locale: str, timezone: str) -> tuple[Place, tuple[Any, ...]]:
        """Return where the contact is, and what their language is: words and translations."""
        key = (locale, timezone)
        found = self._places.get(key)
        if found is None:
            if len(self._places) >= PLACES_AT_MOST:
                self._places.clear()
            place = place_of(locale, timezone, self._catalogues)
            found = self._places[key] = (place, (place.language, place.translations))
        return found

    def _learned(self, context: MessageContext, place: Place, key: tuple[Any, ...], rendered: Rendered) -> Rendered:
        """Enter the way of a message that was rendered in full; not while another thread does so."""
        if not self._learning.acquire(blocking=False):
            return rendered
        try:
            ways = self._ways.get(key)
            if ways is None:
                if len(self._ways) >= LANGUAGES_AT_MOST:
                    self._ways.pop(next(iter(self._ways), key), None)
                ways = self._ways[key] = Ways(self._constants, self.source.name)
            ways.learned += 1
            trace = Trace(self._constants, dict(zip(INPUTS, _inputs(context), strict=True)))
            try:
                with reading_in(place):
                    written = self._follow(trace, context, place)
                    ways.learn(trace, leaf_of(trace, self._constants, self.source.name, written))
                    leaf, _ = ways.find(values := list(_inputs(context)))
                    if leaf is not None and (made := leaf.run(values)) is not None:
                        return self._proved(made, rendered)
            except Exception:  # it cannot be followed, for whatever reason: nothing depends on it but time
                ways.learn(trace, None)
            return rendered
        finally:
            self._learning.release()

    def _proved(self, made: Filled, rendered: Rendered) -> Rendered:
        """Let a skeleton be used where it gives what the full rendering gave; else trust none of this template."""
        leaf, subject, html, values = made
        split = Split(leaf.skeleton, values) if html is None else None
        if split is not None:
            same = subject == rendered.subject and filled(split) == (rendered.subject, rendered.html, rendered.text)
        else:
            same = (subject, html) == (rendered.subject, rendered.html)
        if same:
            leaf.proven = True
            return replace(rendered, split=split)
        self.differences += 1
        self._ways.clear()
        return rendered

    def _follow(self, trace: Trace, context: MessageContext, place: Place) -> list[str | None]:
        """Render with stand-ins for the message's data."""
        watching = self._watching
        values = names_of(context, place) | trace.inputs
        url = trace.inputs["unsubscribe_url"]
        values["preferences_url"] = trace.apply("preferences_url", preferences_url, (url,), steady=True)
        watching.trace = trace
        try:
            return [
                watching.get_template(f"{self.source.name}/{part}").render(values) if part else None
                for part in ("subject.txt", "body.html", self._text and "body.txt")
            ]
        finally:
            watching.trace = None

    @cached_property
    def _watching(self) -> TracingSandbox:
        return tracing_environment(self.source.sources, self._jinja, self._constants)

    def _check_unsubscribe(self, url: str | None, html: str, text: str) -> None:
        if not url:
            raise RenderError(f"{self.source.name}: a marketing email needs an unsubscribe link; none was given")
        for part, present in (("body.html", str(escape(url)) in html), ("body.txt", url in text)):
            if not present:
                raise RenderError(
                    f"{self.source.name}/{part}: a marketing email must carry its unsubscribe link; "
                    "print unsubscribe_url, as _base/layout does"
                )


def catalogues_of(source: TemplateSource) -> dict[str, NullTranslations]:
    """Return the translations that a template version carries, by language."""
    return {
        language: catalogue(language, text)
        for name, text in source.sources.items()
        if (language := catalogue_language(name))
    }


def told_of(error: Exception, source: TemplateSource) -> RenderError:
    """Say in one line what is wrong with a template, and where."""
    where = place_of_error(error, source.sources)
    return RenderError(f"{f'{where[0]}, line {where[1]}' if where else source.name}: {sentence(error)}")


def preferences_url(unsubscribe_url: str | None) -> str | None:
    """Return the link to the page with all choices: it has the token of the unsubscribe link."""
    before, found, token = (unsubscribe_url or "").rpartition("/u/")
    return f"{before}/preferences/{token}" if found else None


def names_of(context: MessageContext, place: Place) -> dict[str, Any]:
    """What a template knows."""
    values = {name: getattr(context, name) for name in MessageContext.__slots__}
    return values | {
        "language": place.language,
        "direction": place.direction,
        "preferences_url": preferences_url(context.unsubscribe_url),
    }


_inputs: Callable[[MessageContext], Inputs] = attrgetter(*INPUTS)
