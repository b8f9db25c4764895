"""Secrets compared in constant time."""

import hmac
from collections.abc import Iterable


def any_alike(given: Iterable[bytes], rights: Iterable[bytes]) -> bool:
    """Return whether any that is given is one of the right ones; each is compared with each, whichever fits."""
    known = list(rights)
    return sum(hmac.compare_digest(right, one) for one in given for right in known) > 0
