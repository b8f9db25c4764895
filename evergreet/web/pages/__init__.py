"""The pages people see: small, rendered here, without scripts."""

import base64
import hashlib
from http import HTTPStatus

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

EVERYTHING_BUTTON = "Unsubscribe from all marketing emails"
"""The words of the button for everything; stored with what they withdraw."""


def topic_button(topic: str) -> str:
    """Return the words of the button for one topic; stored with the consent they withdraw."""
    return f"Unsubscribe from emails about {_words(topic)}"


class Pages:
    """Renders the pages with the company's name."""

    def __init__(self, company: str, site_url: str) -> None:
        self._environment = Environment(
            loader=PackageLoader("evergreet.web", "pages"), autoescape=True, undefined=StrictUndefined
        )
        style, _, _ = self._environment.loader.get_source(self._environment, "style.css")  # type: ignore[union-attr]
        self._environment.globals.update(company=company, site_url=site_url, style=style)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self.style_hash = f"sha256-{digest}"

    def ask(self, topic: str, mailbox: str | None) -> HTMLResponse:
        """Ask what to unsubscribe from."""
        return self._page(
            "ask.html", mailbox=mailbox, topic=_words(topic), topic_button=topic_button(topic),
            everything_button=EVERYTHING_BUTTON,
        )  # fmt: skip

    def done(self, topic: str, mailbox: str | None, *, everything: bool) -> HTMLResponse:
        """Say what was done."""
        return self._page(
            "done.html",
            mailbox=mailbox,
            topic=_words(topic),
            everything=everything,
            everything_button=EVERYTHING_BUTTON,
        )

    def message(self, title: str, sentence: str, status: int) -> HTMLResponse:
        """Say one thing."""
        return self._page("message.html", status, title=title, sentence=sentence)

    def _page(self, name: str, status: int = HTTPStatus.OK, **values: object) -> HTMLResponse:
        return HTMLResponse(self._environment.get_template(name).render(**values), status)


def _words(topic: str) -> str:
    return topic.replace("-", " ").replace("_", " ")
