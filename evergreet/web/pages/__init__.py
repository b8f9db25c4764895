"""The pages people see: small, rendered here, without scripts."""

import base64
import hashlib
from http import HTTPStatus

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from evergreet.catalogues import catalogues_at
from evergreet.localization import Place, install, place_of, reading_in, translated
from evergreet.preferences import PAUSES, Preferences
from evergreet.settings import Settings
from evergreet.template_sources import template_root

EVERYTHING_BUTTON = "Unsubscribe from all marketing emails"
"""The words of the button for everything; stored with what they withdraw."""


QUESTION = "What do you want to read about?"
"""The words over the topics of the preferences."""

HOW_OFTEN = "How often may we write?"
"""The words over how often."""

SPACING_WORDS = {None: "As usual", 7: "At most once a week", 30: "At most once a month"}
"""The words of each choice there; stored with it."""


def topic_button(topic: str) -> str:
    """Return the words of the button for one topic; stored with the consent they withdraw."""
    return f"Unsubscribe from emails about {_words(topic)}"


class Pages:
    """Renders the pages with the company's name; preferences in the contact's language, all else in English."""

    def __init__(self, settings: Settings) -> None:
        self._environment = Environment(
            loader=PackageLoader("evergreet.web", "pages"), autoescape=True, undefined=StrictUndefined,
            extensions=["jinja2.ext.i18n"],
        )  # fmt: skip
        install(self._environment)
        style, _, _ = self._environment.loader.get_source(self._environment, "style.css")  # type: ignore[union-attr]
        self._environment.globals.update(
            company=settings.company, site_url=settings.site_url, style=style, language="en", direction="ltr"
        )
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self.style_hash = f"sha256-{digest}"
        self._settings = settings
        self._catalogues = catalogues_at(template_root(settings.templates))

    def ask(self, topic: str, mailbox: str | None, token: str) -> HTMLResponse:
        """Ask what to unsubscribe from."""
        return self._page(
            "ask.html", mailbox=mailbox, topic=_words(topic), topic_button=topic_button(topic),
            everything_button=EVERYTHING_BUTTON, token=token,
        )  # fmt: skip

    def done(self, topic: str, mailbox: str | None, token: str, *, everything: bool) -> HTMLResponse:
        """Say what was done."""
        return self._page(
            "done.html", mailbox=mailbox, topic=_words(topic), everything=everything,
            everything_button=EVERYTHING_BUTTON, token=token,
        )  # fmt: skip

    def preferences(self, known: Preferences, mailbox: str | None, *, saved: bool = False) -> HTMLResponse:
        """Show what somebody chose so far, as a form."""
        place = self._place(known)
        with reading_in(place):
            topics = [(topic, _label(topic), wanted) for topic, wanted in known.topics.items()]
            return self._page(
                "preferences.html", mailbox=mailbox, topics=topics, paused_until=known.paused_until, pauses=PAUSES,
                spacing_days=known.spacing_days,
                silenced=known.silenced, saved=saved, language=place.language, direction=place.direction,
            )  # fmt: skip

    def topic_wording(self, known: Preferences, topic: str) -> str:
        """Return what stands over and beside the box of a topic; stored with what is chosen there."""
        with reading_in(self._place(known)):
            return f"{translated(QUESTION)} {_label(topic)}"

    def spacing_wording(self, known: Preferences, days: int | None) -> str:
        """Return what stands over and beside a choice of how often; stored with it."""
        with reading_in(self._place(known)):
            return f"{translated(HOW_OFTEN)} {translated(SPACING_WORDS[days])}"

    def everything_button(self, known: Preferences) -> str:
        """Return the words of the button for everything, in the contact's language."""
        with reading_in(self._place(known)):
            return translated(EVERYTHING_BUTTON)

    def _place(self, known: Preferences) -> Place:
        settings = self._settings
        return place_of(
            known.locale or settings.default_locale, known.timezone or settings.default_timezone, self._catalogues
        )

    def message(self, title: str, sentence: str, status: int) -> HTMLResponse:
        """Say one thing."""
        return self._page("message.html", status, title=title, sentence=sentence)

    def _page(self, name: str, status: int = HTTPStatus.OK, **values: object) -> HTMLResponse:
        return HTMLResponse(self._environment.get_template(name).render(**values), status)


def _words(topic: str) -> str:
    return topic.replace("-", " ").replace("_", " ")


def _label(topic: str) -> str:
    """Name a topic in the language that is read in; a company's own catalogue may translate it."""
    words = translated(_words(topic))
    return words[:1].upper() + words[1:]
