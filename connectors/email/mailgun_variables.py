"""Messages of one skeleton in one form: Mailgun puts each recipient's variables in the place of `%recipient.name%`.

https://documentation.mailgun.com/docs/mailgun/user-manual/sending-messages/batch-sending. What it takes for a variable,
and whether it changes a value, is said nowhere. So a message goes this way only where the result is its content byte
for byte however that is done:

- Values hold nothing that JSON or HTML would escape. Mailgun was seen to leave `\\u0026` as it is
  (https://github.com/jeffreykemp/mailgun-plsql-api/issues/42).
- Values hold neither `%` nor the word recipient, and no text between two slots ends as a variable begins or goes on as
  one does, so that a variable stands nowhere but in its slot, whatever was replaced before it.
- No value is empty: that may be taken for one that is missing.
- The address is plain: with a `+` in it, variables were seen to be left as they are
  (https://github.com/mailgun/mailgun.js/issues/413).

All others go alone, with their whole content.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from typing import Self, TypeAlias

from connectors.email.mailboxes import Mailboxes, quoted
from evergreet.contracts import EmailMessage, Skeleton

KEY = "evergreet_key"
ROW = "evergreet_row"
"""Custom variables that carry the message's key and ledger row; they come back with every event of the message."""
WORDS = re.compile(r"%(?:(?:tag_|mailing_list_)?unsubscribe_url|unsubscribe_email)%", re.IGNORECASE)
"""Variables that Mailgun replaces in any message, by links of its own: `…/tracking-messages/tracking-unsubscribes`."""

_FOREIGN = re.compile(f"%recipient|{WORDS.pattern}|[\ud800-\udfff]", re.IGNORECASE)
_GOES_ON = re.compile(r"recipient|[a-z_]*unsubscribe_", re.IGNORECASE)
_TOKEN = re.compile(rb"%recipient\.(x[0-9a-f]{16}_\w+)%")
_UNSAFE = re.compile("[%&<>\"'\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]|recipient", re.IGNORECASE)
_BEGUN = re.compile(r"%[a-z_.]*$", re.IGNORECASE)
_ARISES = re.compile("recipient|unsubscribe_", re.IGNORECASE)
_PLAIN_ADDRESS = re.compile(r"[a-z0-9._-]+@[a-z0-9.-]+")

Member: TypeAlias = tuple[int, EmailMessage, Mailboxes]
"""A message with its place in the batch and its addresses."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The variables of a skeleton, and its parts with them in the slots."""

    tag: str
    fit: bool
    inert: bool
    """Whether no two slots touch, so that a word can only stand within a value."""
    slots: tuple[int, ...]
    subject: str
    html: str
    text: str

    @classmethod
    def of(cls, skeleton: Skeleton) -> Self:
        """Make the variables of a skeleton; they are the same whenever it comes again."""
        tag = f"x{sha256(skeleton.key.encode('utf-8', 'replace')).hexdigest()[:16]}"
        parts = (skeleton.subject, skeleton.html, skeleton.text)
        slots = tuple(sorted({piece for part in parts for piece in part if isinstance(piece, int)}))
        fit = bool(slots) and slots[0] >= 0 and slots[-1] < skeleton.slots and all(_is_fit(p, tag) for p in parts)
        inert = not any(isinstance(a, int) and isinstance(b, int) for part in parts for a, b in pairwise(part))
        subject, html, text = (
            "".join([piece if isinstance(piece, str) else token(tag, piece) for piece in part]) for part in parts
        )
        return cls(tag, fit, inert, slots, subject, html, text)

    def safe(self, message: EmailMessage) -> bool:
        """Say whether a message comes out byte for byte; see the module's first lines."""
        assert message.split is not None
        values = [message.split.values[slot] for slot in self.slots]
        if _UNSAFE.search("".join(values)) or not all(value and value.strip() == value for value in values):
            return False
        if self.tag in "\n".join([*values, message.to.name, message.key, *message.headers.values()]):
            return False
        if self.inert:
            return True
        whole = f"{message.subject}\n{message.html}\n{message.text}"
        return self.tag not in whole and _ARISES.search(whole) is None


def token(tag: str, name: int | str) -> str:
    """Return how a variable stands in a text."""
    return f"%recipient.{tag}_{name}%"


def filled(text: bytes, values: Mapping[str, str]) -> bytes:
    """Return a text with these variables replaced by their values."""
    return _TOKEN.sub(lambda found: values[found[1].decode()].encode(), text)


def _is_fit(part: tuple[str | int, ...], tag: str) -> bool:
    """Say whether no text of a part is, begins, ends or goes on as a variable does."""
    texts = [""]
    for piece in part:
        if isinstance(piece, int):
            texts.append("")
        else:
            texts[-1] += piece
    return not (
        any(_FOREIGN.search(text) or tag in text for text in texts)
        or any(_BEGUN.search(text) for text in texts[:-1])
        or any(_GOES_ON.match(text) for text in texts[1:])
    )


@dataclass(slots=True)
class Shared:
    """Messages that differ in variables only."""

    tokens: Tokens
    members: list[Member] = field(default_factory=list)

    def fields(self) -> dict[str, str]:
        """Return headers and custom variables, as they stand in the form."""
        _, first, _ = self.members[0]
        tag, own = self.tokens.tag, self._own()
        written = {f"h:{name}": value for name, value in first.headers.items()}
        for place, name in own:
            opening, _, closing = _bracketed(first.headers[name])
            written[f"h:{name}"] = f"{opening}{token(tag, f'h{place}')}{closing}"
        rows = {f"v:{ROW}": token(tag, "row")} if first.row else {}
        return written | {f"v:{KEY}": token(tag, "key")} | rows

    def variables(self) -> list[dict[str, str]]:
        """Return each recipient's values by the names of the variables, in the order of the members."""
        tag, own = self.tokens.tag, self._own()
        names = [(slot, f"{tag}_{slot}") for slot in self.tokens.slots]
        headers = [(name, f"{tag}_h{place}") for place, name in own]
        listed = []
        for _, message, _ in self.members:
            assert message.split is not None
            filled = message.split.values
            values = {name: filled[slot] for slot, name in names} | {f"{tag}_key": message.key}
            values |= {variable: _bracketed(message.headers[name])[1] for name, variable in headers}
            if message.row:
                values[f"{tag}_row"] = str(message.row)
            listed.append(values)
        return listed

    def _own(self) -> list[tuple[int, str]]:
        """Return the headers that are not the same for everybody."""
        _, first, _ = self.members[0]
        return [
            (place, name)
            for place, (name, value) in enumerate(first.headers.items())
            if any(message.headers[name] != value for _, message, _ in self.members)
        ]


@dataclass(slots=True)
class Together:
    """Puts messages into groups that can share a form."""

    groups: dict[tuple[object, ...], Shared] = field(default_factory=dict)
    known: dict[str, Tokens] = field(default_factory=dict)

    def take(self, place: int, message: EmailMessage, who: Mailboxes) -> bool:
        """Take a message; false where it has to go alone."""
        split = message.split
        if split is None or len(split.values) != split.skeleton.slots:
            return False
        key = split.skeleton.key
        if key not in self.known:
            self.known[key] = Tokens.of(split.skeleton)
        tokens = self.known[key]
        if not tokens.fit or split.part("subject") != message.subject or message.subject.strip() != message.subject:
            return False
        people = (quoted(who.sender), quoted(who.reply_to) if who.reply_to else "")
        outside = "\n".join([*people, who.to.name, *message.headers.values()])
        if "%" in who.to.name or _FOREIGN.search(outside) or not _PLAIN_ADDRESS.fullmatch(who.to.address):
            return False
        if _UNSAFE.search(message.key) or not tokens.safe(message):
            return False
        shapes = tuple((name, _shape(value)) for name, value in message.headers.items())
        group = self.groups.setdefault((key, *people, shapes, bool(message.row)), Shared(tokens))
        group.members.append((place, message, who))
        return True


def _shape(value: str) -> tuple[str, ...]:
    """Return what headers must have in common that share a form: brackets around a value, or all of it."""
    opening, inside, closing = _bracketed(value)
    fits = inside and inside.strip() == inside and not _UNSAFE.search(inside)
    return (opening, closing) if fits else (value,)


def _bracketed(value: str) -> tuple[str, str, str]:
    bracketed = value.startswith("<") and value.endswith(">")
    return ("<", value[1:-1], ">") if bracketed else ("", value, "")
