"""Stripe's amounts: whole numbers of a currency's smallest unit, https://docs.stripe.com/currencies.

ISK and UGX have no decimals any more and are still told with two, as Stripe's list of special cases says.
"""

from decimal import Decimal
from typing import Any

WITHOUT_DECIMALS = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"}
)
"""Their smallest unit is the currency's own."""

WITH_THREE_DECIMALS = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})
"""Their smallest unit is a thousandth; that of all others a hundredth."""


def amount(told: Any, currency: str) -> int | float | None:
    """Return an amount in the currency's own unit; None where there is none."""
    if not isinstance(told, int) or isinstance(told, bool):
        return None
    decimals = 0 if currency in WITHOUT_DECIMALS else 3 if currency in WITH_THREE_DECIMALS else 2
    exact = Decimal(told).scaleb(-decimals)
    return int(exact) if exact == exact.to_integral_value() else float(exact)
