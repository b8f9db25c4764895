"""Holdout: contacts chosen by hash who are enrolled but get no marketing email, so that lift can be measured."""

import hashlib

from evergreet.campaign import Campaign
from evergreet.settings import Settings

FINEST = 10_000
"""A percent has so many parts: as much of a percentage as counts."""


def in_holdout(percentage: float, salt: str, contact: str) -> bool:
    """Whether a contact is among the chosen: the same answer each time, and also at a higher percentage."""
    if percentage == 0:
        return False
    drawn = int.from_bytes(hashlib.blake2b(f"{salt}\x1f{contact}".encode(), digest_size=8).digest())
    # The whole percents first, so that who is in a holdout of whole percents does not hang on how fine its parts are.
    return drawn % 100 * FINEST + drawn // 100 % FINEST < round(percentage * FINEST)


def holdout_reason(settings: Settings, campaign: Campaign, source: str, source_id: str) -> str | None:
    """Return `global_holdout` or `holdout` where the contact is in one of them, the global one first.

    So a campaign's own holdout and those it wrote to differ in nothing but the campaign: neither holds
    people who get no marketing at all. The contact goes by its source and source id, which a restore and a
    second import keep; row ids may come out differently.
    """
    contact = f"{source}:{source_id}"
    if in_holdout(settings.holdout, f"{settings.holdout_salt}:all", contact):
        return "global_holdout"
    if in_holdout(campaign.holdout, f"{settings.holdout_salt}/{campaign.name}", contact):
        return "holdout"
    return None
