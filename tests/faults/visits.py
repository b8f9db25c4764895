"""Which of the boundaries that a process passes are visited: all of them where there is time, else some of each kind.

`EVERGREET_EVERY_BOUNDARY=1` visits all, as `make chaos` does.
"""

import os
import random
from collections.abc import Callable, Sequence
from typing import get_args

from tests.faults.children import When

EVERY = os.environ.get("EVERGREET_EVERY_BOUNDARY") == "1"
SEED = 20260310


def visits(labels: Sequence[str], *, of: Callable[[str], bool] = lambda label: True) -> list[tuple[int, When]]:
    """Return where to die, before or after: at all of these boundaries, or once at each name that `of` picks."""
    both: tuple[When, ...] = get_args(When)
    if EVERY:
        return [(number, when) for number in range(len(labels)) for when in both]
    chance = random.Random(SEED)
    names = sorted({label for label in labels if of(label)})
    places = [[number for number, label in enumerate(labels) if label == name] for name in names]
    return [(chance.choice(numbers), chance.choice(both)) for numbers in places]
