"""Messages of one skeleton, as the engine hands them to a connector that takes them together."""

from collections.abc import Sequence
from dataclasses import replace

from evergreet.contracts import EmailMessage, Mailbox, Skeleton, Split
from tests.connectors.email.letters import letter

HELLO = Skeleton(
    key="hello", slots=2, subject=("Hello ", 0), html=("<p>Dear ", 0, ", take ", 1, ".</p>"),
    text=("Dear ", 0, ", take ", 1, "."),
)  # fmt: skip


def filled(part: Sequence[str | int], values: Sequence[str]) -> str:
    return "".join(values[piece] if isinstance(piece, int) else piece for piece in part)


def split_letter(skeleton: Skeleton, values: tuple[str, ...], key: str = "1.a", address: str = "") -> EmailMessage:
    """A message as its skeleton and values say it."""
    return replace(
        letter(key, to=Mailbox(address or f"c{key}@customer.example", values[0][:20].strip() if values else "")),
        subject=filled(skeleton.subject, values), html=filled(skeleton.html, values),
        text=filled(skeleton.text, values), split=Split(skeleton, values),
    )  # fmt: skip


def crowd(count: int, skeleton: Skeleton = HELLO) -> list[EmailMessage]:
    """Many messages of one skeleton with the keys 1.0, 1.1 and so on."""
    return [split_letter(skeleton, (f"Person {n}", f"{n} %"), f"1.{n}") for n in range(count)]
