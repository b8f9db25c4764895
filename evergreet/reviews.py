"""The rules of asking for reviews: everyone alike, no incentive, and never where asking is forbidden."""

from urllib.parse import urlsplit

FORBIDS_ASKING = {
    "yelp.com": "Yelp asks businesses not to ask for reviews (Yelp Support Center, Don't Ask for Reviews)",
    "amazon.com": "Amazon allows only its own Request a Review button (Seller Central, Communication Guidelines)",
    "amzn.to": "Amazon allows only its own Request a Review button (Seller Central, Communication Guidelines)",
}
"""Sites that do not allow a business to ask for reviews by its own mail, with the rule that says so.

A name covers its subdomains and the same site under other national domains (`yelp.de`, `amazon.co.uk`).
"""

REVIEWED = frozenset({"review_submitted", "product_reviewed"})
"""Events that say a review was written: whoever did need not be asked again, whatever it said."""

INCENTIVES = ("coupon", "discount", "voucher", "reward", "incentive", "credit", "gift")
"""Parts of names of options and template values that would give something for a review."""


def forbids_asking(url: str) -> str | None:
    """Return the rule by which the site behind `url` forbids asking; None where none is known."""
    labels = _host(url).split(".")
    for site, rule in FORBIDS_ASKING.items():
        if site.partition(".")[0] in labels[:-1]:
            return rule
    return None


def is_https(url: str) -> bool:
    """Whether it is an https address that names a site."""
    return url.startswith("https://") and bool(_host(url))


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:  # brackets that are no IPv6 address
        return ""


def incentive_in(names: list[str]) -> str | None:
    """Return the first name that looks like something given for a review; None where none does."""
    return next((name for name in names if any(part in name.lower() for part in INCENTIVES)), None)
