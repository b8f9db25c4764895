"""Addresses of webhooks, which are secrets: whoever knows one can post there."""

import logging
import re
from typing import ClassVar, NamedTuple

import httpx
from pydantic import SecretStr

from connectors.addressing import is_this_machine


class Place(NamedTuple):
    """A server, and the path of a webhook on it; the path alone is what nobody may read."""

    server: str
    path: str


def place_of(url: SecretStr) -> Place:
    """Take an address apart that `may_be_posted_to` has let through; from then on its path is in no log of httpx."""
    found = re.fullmatch(r"(https?://[^/?#]+)(.*)", url.get_secret_value())
    assert found is not None
    _WithoutPaths.of.add(httpx.URL(url.get_secret_value()))
    logging.getLogger("httpx").addFilter(_FILTER)  # once, however often it is added
    return Place(found[1], found[2] or "/")


class _WithoutPaths(logging.Filter):
    """Takes the paths of webhooks out of the line that httpx writes for each request."""

    of: ClassVar[set[httpx.URL]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                one.copy_with(raw_path=b"/") if isinstance(one, httpx.URL) and one in self.of else one
                for one in record.args
            )
        return True


_FILTER = _WithoutPaths()


def may_be_posted_to(url: SecretStr) -> SecretStr:
    """Return the address of a webhook.

    A ValueError where it is none, or what is posted would travel in plain text, except to this machine.
    """
    found = re.fullmatch(r"(https?)://(\[[^\]\s/@]+\]|[^\s/@:?#]+)(?::\d{1,5})?(?:[/?][!-~]*)?", url.get_secret_value())
    if found is None or "#" in url.get_secret_value():
        raise ValueError("write https://, the name of the server and the path, in ASCII and without a user")
    if found[1] == "http" and not is_this_machine(found[2].strip("[]")):
        raise ValueError("it would travel in plain text: write https://")
    return url
