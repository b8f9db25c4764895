"""The rules of asking for reviews: everyone alike, no incentive, and never where asking is forbidden.

They are those of the sites: beside the ones named below, Google's policy on what users contribute refuses incentives
and asking only the happy. The FTC's rule (16 CFR 465.4) forbids to pay for what a review says.
"""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from evergreet.presets.vocabulary import DELIVERED, PURCHASED, REVIEWS

FORBIDS_ASKING = {
    "yelp": "Yelp asks businesses not to ask for reviews (Yelp Support Center, Don't Ask for Reviews)",
    "amazon": "Amazon allows only its own Request a Review button (Seller Central, Communication Guidelines)",
    "amzn": "Amazon allows only its own Request a Review button (Seller Central, Communication Guidelines)",
}
"""Sites that do not allow a business to ask for reviews by its own mail, with the rule that says so.

A name stands for the site under every national domain and subdomain (`yelp.de`, `m.yelp.com`, `amazon.co.uk`).
"""

SHORTENERS = frozenset(
    {
        "a.co", "bit.ly", "bl.ink", "buff.ly", "cutt.ly", "dlvr.it", "goo.gl", "is.gd", "lnkd.in", "ow.ly", "rb.gy",
        "rebrand.ly", "shorturl.at", "t.co", "t.ly", "tiny.cc", "tinyurl.com", "tr.im", "v.gd",
    }
)  # fmt: skip
"""Services whose links lead elsewhere, so that nobody can tell from the link whether asking is allowed there."""

REVIEWED = frozenset(REVIEWS)
"""Events that say a review was written: whoever did need not be asked again, whatever it said."""

NOT_BOUGHT = frozenset({"order_cancelled"})
"""Events that say of an order that it did not come about: there is nothing to review. A refund says no such thing."""

BOUGHT = frozenset({*PURCHASED, *DELIVERED})
"""Events that every buyer has alike: what a request for a review may start from."""

INCENTIVES = (
    "coupon", "discount", "voucher", "reward", "incentive", "credit", "gift", "prize", "raffle", "sweepstake",
    "cashback", "% off",
)  # fmt: skip
"""Words that would give something for a review: in names of options and template values, and in what is written."""

_WRITTEN = re.compile(
    "|".join(rf"\b{word}s?\b" if word.isalpha() else rf"{word}\b" for word in INCENTIVES), re.IGNORECASE
)
_LINK = re.compile(r"https?://[^\s\"'<>{}()|]+", re.IGNORECASE)


def forbids_asking(url: str) -> str | None:
    """Return the rule by which the site behind `url` forbids asking, or may; None where none is known."""
    host = _host(url)
    labels = host.split(".")
    if (shortener := ".".join(labels[-2:])) in SHORTENERS:
        return f"{shortener} hides where it leads"
    return next((rule for site, rule in FORBIDS_ASKING.items() if site in labels[:-1]), None)


def is_https(url: str) -> bool:
    """Whether it is an https address that names a site."""
    return url[:8].lower() == "https://" and bool(_host(url))


def _host(url: str) -> str:
    """Return the host that a browser would look up (WHATWG URL: IDNA, and `%79elp` is yelp); '' where it is none."""
    if "\\" in url:  # a slash to a browser, and not to us
        return ""
    try:
        host = (urlsplit(url).hostname or "").encode("idna").decode("ascii").rstrip(".").lower()
    except ValueError:  # brackets that are no IPv6 address, labels that are none
        return ""
    return "" if "%" in host else host


def links_in(text: str) -> list[str]:
    """Return the addresses of the web that are written out in a text."""
    return _LINK.findall(text)


def incentive_in(names: Iterable[str]) -> str | None:
    """Return the first name that looks like something given for a review; None where none does."""
    return next((name for name in names if any(part in name.lower() for part in INCENTIVES)), None)


def incentive_written(text: str) -> str | None:
    """Return the first word in a text that would give something for a review; None where there is none."""
    found = _WRITTEN.search(text)
    return found.group() if found else None
