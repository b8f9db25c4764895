"""How many parts an SMS is sent and paid in (3GPP TS 23.038, the GSM 7-bit default alphabet; TS 23.040 §9.2.3.24.1).

A text of that alphabet has room for 160 characters, and for 153 in each part of several; one character beyond it makes
the whole text UCS-2, with room for 70, or 67 in each part. A character of the extension table takes two places and one
beyond the basic plane, such as most emoji, two as well; neither is cut in two.
"""

from dataclasses import dataclass
from typing import Literal

GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = frozenset("\f^{}\\[~]|€")
"""Written after an escape, so in two places."""

ROOM = {"GSM-7": (160, 153), "UCS-2": (70, 67)}
"""Places in a text of one part, and in each part of several."""


@dataclass(frozen=True, slots=True)
class Segments:
    """How a text travels: `characters` as a reader counts them, `count` parts in this `encoding`."""

    characters: int
    encoding: Literal["GSM-7", "UCS-2"]
    count: int

    def __str__(self) -> str:
        return f"{self.characters} characters, {self.encoding}, {self.count} segment{'' if self.count == 1 else 's'}"


def segments_of(text: str) -> Segments:
    """Count the parts of a text."""
    encoding: Literal["GSM-7", "UCS-2"] = "GSM-7" if GSM.issuperset(set(text) - EXTENSION) else "UCS-2"
    if encoding == "GSM-7":
        places = [2 if letter in EXTENSION else 1 for letter in text]
    else:
        places = [2 if letter > "\uffff" else 1 for letter in text]
    alone, each = ROOM[encoding]
    if sum(places) <= alone:
        return Segments(len(text), encoding, 1)
    count, left = 1, each
    for needed in places:
        if needed > left:
            count, left = count + 1, each
        left -= needed
    return Segments(len(text), encoding, count)
