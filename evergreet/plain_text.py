"""The text part of a message that has none of its own: its HTML as somebody would write it in plain text."""

import re
from collections.abc import Mapping

from inscriptis import get_text
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.html_engine import HtmlDocumentState
from inscriptis.model.config import ParserConfig
from inscriptis.model.tag import CustomHtmlTagHandlerMapping

from evergreet.posting import tidy

_SAID_TWICE = re.compile(r"(\S+) <(?:mailto:|tel:)?\1>")


def plain_text(html: str) -> str:
    """Return the text of a message; links stand behind their words, `<https://…>` (RFC 3986, appendix C)."""
    return _SAID_TWICE.sub(r"\1", tidy(get_text(html, _CONFIG)))


def _link_begins(state: HtmlDocumentState, attributes: Mapping[str, str]) -> None:
    state.link_target = attributes.get("href", "").strip()


def _link_ends(state: HtmlDocumentState) -> None:
    if state.link_target and not state.link_target.startswith("#"):
        state.tags[-1].write(f" <{state.link_target}>")


_CONFIG = ParserConfig(
    css=CSS_PROFILES["strict"].copy(),  # the other indents each `div` and puts blanks around each `span`
    display_images=True,
    custom_html_tag_handler_mapping=CustomHtmlTagHandlerMapping({"a": _link_begins}, {"a": _link_ends}),
)
