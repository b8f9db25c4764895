"""Kinds of messages that say nothing to us: passed over, and logged once."""

import logging
from functools import lru_cache

LOG = logging.getLogger("evergreet.connectors")


@lru_cache(maxsize=256)
def pass_over(connector: str, word: str) -> None:
    """Say once in a process that a kind of message is taken and nothing becomes of it."""
    LOG.info("%s tells of %r, which nothing becomes of: it need not be sent here", connector, word[:100])
