"""Lift: how much more often people convert who got a campaign than those held out from it, and how sure that is."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

CONFIDENCE = 0.95
"""Of a hundred intervals, so many hold the truth."""

Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True, slots=True)
class Group:
    """Contacts that are compared: how many, how many of them converted, how many others may still do so in time."""

    contacts: int = 0
    converted: int = 0
    still_open: int = 0

    @property
    def rate(self) -> float | None:
        """The share that converted, from 0 to 1; None where there is nobody."""
        return self.converted / self.contacts if self.contacts else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the true rate lies (`wilson`); None where there is nobody."""
        return wilson(self.converted, self.contacts) if self.contacts else None


NOBODY = Group()


@dataclass(frozen=True, slots=True)
class Lift:
    """The difference between two rates, and how much more that is than the second (0.1: a tenth more), each with its
    confidence interval; the relative figures are None where nobody held out converted."""

    difference: float
    low: float
    high: float
    relative: float | None
    relative_low: float | None = None
    relative_high: float | None = None

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out that there is no difference."""
        return self.low > 0 or self.high < 0


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, Journal of the American
    Statistical Association 22 (1927) 209-212. It stays within 0 and 1, and is right for few trials as well.
    """
    middle = 2 * successes + Z * Z
    reach = Z * sqrt(Z * Z + 4 * successes * (trials - successes) / trials)
    whole = 2 * (trials + Z * Z)
    low = (middle - reach) / whole if successes else 0.0
    high = (middle + reach) / whole if successes < trials else 1.0
    return low, high


def difference(first: tuple[int, int], second: tuple[int, int]) -> tuple[float, float, float]:
    """Return the difference of two independent proportions (successes, trials), and its 95 % interval.

    Newcombe's hybrid score interval: R. G. Newcombe, Interval estimation for the difference between independent
    proportions: comparison of eleven methods, Statistics in Medicine 17 (1998) 873-890, method 10.
    """
    (a, m), (b, n) = first, second
    (low_a, high_a), (low_b, high_b) = wilson(a, m), wilson(b, n)
    p, q = a / m, b / n
    return p - q, p - q - sqrt((p - low_a) ** 2 + (high_b - q) ** 2), p - q + sqrt((high_a - p) ** 2 + (q - low_b) ** 2)


def ratio(first: tuple[int, int], second: tuple[int, int]) -> tuple[float, float, float]:
    """Return the ratio of two independent proportions (successes, trials), and its 95 % interval.

    MOVER-R from Wilson's intervals: A. Donner and G. Y. Zou, Closed-form confidence intervals for functions of the
    normal mean and standard deviation, Statistical Methods in Medical Research 21 (2012) 347-359. It holds 1 exactly
    where `difference` holds 0. Raises ZeroDivisionError where the second has no successes.
    """
    (a, m), (b, n) = first, second
    (low_a, high_a), (low_b, high_b) = wilson(a, m), wilson(b, n)
    p, q = a / m, b / n

    def root(of_first: float, of_second: float) -> tuple[float, float, float]:
        one, other = of_first * (2 * p - of_first), of_second * (2 * q - of_second)
        return one, other, sqrt(max(0.0, (p * q) ** 2 - one * other))

    one, _, middle = root(low_a, high_b)
    low = one / (p * q + middle) if a else 0.0
    _, other, middle = root(high_a, low_b)
    return p / q, low, (p * q + middle) / other


def lift(treated: Group, held_out: Group) -> Lift | None:
    """Compare two groups; None where one of them is empty."""
    if not (treated.contacts and held_out.contacts):
        return None
    first, second = (treated.converted, treated.contacts), (held_out.converted, held_out.contacts)
    if not held_out.converted:
        return Lift(*difference(first, second), relative=None)
    return Lift(*difference(first, second), *(share - 1 for share in ratio(first, second)))


def verdict(found: Lift, others: str) -> str:
    """Say in a sentence what the comparison with the `others` shows; where chance would do, that it shows nothing."""
    between = f"95% confidence interval {points(found.low)} to {points(found.high)}"
    much = f"{points(found.difference)} percentage points ({between})"
    if not found.certain:
        return f"Too early to tell: compared with {others}, the difference is {much}, which may be chance."
    effect = "more" if found.difference > 0 else "fewer"
    relative = ""
    if found.relative is not None and found.relative_low is not None and found.relative_high is not None:
        span = f"{_percent(found.relative_low)} to {_percent(found.relative_high)}"
        relative = f", that is {abs(found.relative):.0%} {effect} than they ({span})"
    return f"Compared with {others}, {effect} people convert: {much}{relative}."


def _percent(share: float) -> str:
    return f"{share:+.0%}".replace("-", "−")


def points(share: float) -> str:
    """Write a difference of shares in percentage points, with its sign."""
    written = f"{100 * share:+.1f}"
    return "0.0" if written in {"+0.0", "-0.0"} else written.replace("-", "−")
