"""The pages people see: small, rendered here, without scripts."""

import base64
import hashlib
import re
from http import HTTPStatus

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from evergreet.catalogues import catalogues_at
from evergreet.localization import NOWHERE, Place, install, place_of, reading_in
from evergreet.preferences import PAUSES, Preferences
from evergreet.settings import Settings
from evergreet.template_sources import template_root

EVERYTHING_BUTTON = "Unsubscribe from all marketing emails"
"""The words of the button for everything; stored with what they withdraw."""

TOPIC_BUTTON = "Unsubscribe from emails about %(topic)s"
"""The words of the button for one topic."""

QUESTION = "What do you want to read about?"
"""The words over the topics of the preferences."""

HOW_OFTEN = "How often may we write?"
"""The words over how often."""

SPACING_WORDS = {None: "As usual", 7: "At most once a week", 30: "At most once a month"}
"""The words of each choice there; stored with it."""


_LANGUAGE = re.compile(r"(?P<tag>[A-Za-z-]+)(?:\s*;\s*q=(?P<weight>[01](?:\.\d{0,3})?))?")


class Pages:
    """Renders the pages with the company's name, in its reader's language where there is a catalogue for it."""

    def __init__(self, settings: Settings) -> None:
        self._environment = Environment(
            loader=PackageLoader("evergreet.web", "pages"), autoescape=True, undefined=StrictUndefined,
            extensions=["jinja2.ext.i18n"],
        )  # fmt: skip
        install(self._environment)
        style, _, _ = self._environment.loader.get_source(self._environment, "style.css")  # type: ignore[union-attr]
        self._environment.globals.update(company=settings.company, site_url=settings.site_url, style=style)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self.style_hash = f"sha256-{digest}"
        self._settings = settings
        self._catalogues = catalogues_at(template_root(settings.templates))

    def place(self, locale: str | None, timezone: str | None) -> Place:
        """Return where a contact reads a page, as their messages are read."""
        settings = self._settings
        return place_of(locale or settings.default_locale, timezone or settings.default_timezone, self._catalogues)

    def ask(self, topic: str, mailbox: str | None, token: str, place: Place) -> HTMLResponse:
        """Ask what to unsubscribe from."""
        return self._page("ask.html", place, mailbox=mailbox, topic=_words(topic, place), token=token)

    def done(self, topic: str, mailbox: str | None, token: str, place: Place, *, everything: bool) -> HTMLResponse:
        """Say what was done."""
        return self._page(
            "done.html", place, mailbox=mailbox, topic=_words(topic, place), everything=everything, token=token
        )

    def preferences(
        self, known: Preferences, mailbox: str | None, place: Place, *, saved: bool = False
    ) -> HTMLResponse:
        """Show what somebody chose so far, as a form."""
        return self._page(
            "preferences.html", place, mailbox=mailbox, paused_until=known.paused_until, pauses=PAUSES,
            topics=[(topic, _label(topic, place), wanted) for topic, wanted in known.topics.items()],
            spacing_days=known.spacing_days, silenced=known.silenced, saved=saved,
        )  # fmt: skip

    def missing(self, languages: str) -> HTMLResponse:
        """Say that there is nothing here; `languages` is what the browser asks for (Accept-Language)."""
        return self._page("missing.html", self._asked_for(languages), HTTPStatus.NOT_FOUND)

    def later(self, languages: str) -> HTMLResponse:
        """Ask to come back later; `languages` as for `missing`."""
        return self._page("later.html", self._asked_for(languages), HTTPStatus.SERVICE_UNAVAILABLE)

    def refused(self, sentence: str, status: int, languages: str) -> HTMLResponse:
        """Say why nothing was done, which no button or link of ours leads to; `languages` as for `missing`."""
        return self._page("refused.html", self._asked_for(languages), status, sentence=sentence)

    def _asked_for(self, languages: str) -> Place:
        """Return a place whose words the browser asks for: nobody knows who reads (RFC 9110, 12.5.4)."""
        asked = [_LANGUAGE.fullmatch(part.strip()) for part in languages[:500].split(",")]
        for found in sorted(filter(None, asked), key=lambda one: -float(one["weight"] or 1)):
            place = self.place(found["tag"], None)
            if place.words.language == found["tag"].partition("-")[0].lower():
                return place
        return NOWHERE

    def _page(self, name: str, place: Place, status: int = HTTPStatus.OK, **values: object) -> HTMLResponse:
        with reading_in(place):
            page = self._environment.get_template(name).render(
                language=place.language, direction=place.direction, **values
            )
        return HTMLResponse(page, status)


def topic_button(topic: str, place: Place) -> str:
    """Return the words of the button for one topic; stored with the consent they withdraw."""
    return place.translations.gettext(TOPIC_BUTTON) % {"topic": _words(topic, place)}


def everything_button(place: Place) -> str:
    """Return the words of the button for everything."""
    return place.translations.gettext(EVERYTHING_BUTTON)


def topic_wording(topic: str, place: Place) -> str:
    """Return what stands over and beside the box of a topic; stored with what is chosen there."""
    return f"{place.translations.gettext(QUESTION)} {_label(topic, place)}"


def spacing_wording(days: int | None, place: Place) -> str:
    """Return what stands over and beside a choice of how often; stored with it."""
    return f"{place.translations.gettext(HOW_OFTEN)} {place.translations.gettext(SPACING_WORDS[days])}"


def _words(topic: str, place: Place) -> str:
    """Name a topic; a company's own catalogue may translate it."""
    return place.translations.gettext(topic.replace("-", " ").replace("_", " "))


def _label(topic: str, place: Place) -> str:
    words = _words(topic, place)
    return words[:1].upper() + words[1:]
