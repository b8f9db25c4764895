"""What is signed or hashed with the secret keys: unsubscribe links, clicks, and the addresses of erased people."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from itsdangerous import BadData, URLSafeSerializer

from evergreet.errors import ConfigurationError, EvergreetError

LONGEST = 512
"""Characters; a longer token was not made here and is not looked at."""
LONGEST_PLAIN = 100
"""Octets of what a link stands for; what is longer is packed where that makes it shorter."""

CLICKABLE = re.compile(r"(?i:https?)://[!#-;=?-\[\]_a-z~]{1,1500}")
"""What a signed click may lead to: a web address of characters that stand for themselves in a header and in HTML."""

_HEAD, _SIGNATURE = 32, 22
_LONGEST_CLICK = _HEAD + 2020 + _SIGNATURE

# HMAC (RFC 2104) with both halves begun once: Python's own object costs twice as much to copy.
_BLOCK = hashlib.sha256().block_size
_INNER, _OUTER = (bytes(octet ^ pad for octet in range(256)) for pad in (0x36, 0x5C))


class InvalidToken(EvergreetError):
    """A link that was not made here, or not whole. It never says which."""


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """What an unsubscribe link stands for."""

    contact_id: int
    topic: str


@dataclass(frozen=True, slots=True)
class Click:
    """What a link that is led over us stands for: the message, by its ledger row and key, and where it leads."""

    row: int
    key: str
    url: str


class Tokens:
    """Signs with the newest key and reads with all of them, so that links outlive a change of keys.

    `keys` are the secret keys, oldest first. Links carry no date: mail is kept for years, and a link in it
    must go on working (RFC 8058; DESIGN §9).
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys or not all(keys):
            raise ConfigurationError("EVERGREET_SECRET_KEYS holds no key, or an empty one: links cannot be signed.")
        self._keys = list(keys)
        self._unsubscribe: URLSafeSerializer = URLSafeSerializer(
            self._keys,
            salt="evergreet.unsubscribe",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )
        self._click_keys = [hmac.digest(key.encode(), b"evergreet.click", "sha256") for key in keys]
        derived = self._unsubscribe.make_signer(self._unsubscribe.salt).derive_key()
        key = (hashlib.sha256(derived).digest() if len(derived) > _BLOCK else derived).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(key.translate(_INNER))
        self._outer = hashlib.sha256(key.translate(_OUTER))

    def sign_unsubscribe(self, contact_id: int, topic: str) -> str:
        """Return the token of the link that takes this contact off this topic; it is safe in a URL path."""
        payload = f"[{contact_id},{_quoted(topic)}]".encode()
        if len(payload) > LONGEST_PLAIN:
            token = self._unsubscribe.dumps([contact_id, topic])
            return token if isinstance(token, str) else token.decode()
        # As itsdangerous does it, but for its try to pack what is short already, and a new key each time.
        value = base64.urlsafe_b64encode(payload).rstrip(b"=")
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(value)
        outer.update(inner.digest())
        return f"{value.decode()}.{base64.urlsafe_b64encode(outer.digest()).rstrip(b'=').decode()}"

    def read_unsubscribe(self, token: str) -> Unsubscribe:
        """Return what a token stands for; raises InvalidToken for anything we did not sign."""
        try:
            if len(token) > LONGEST:
                raise ValueError
            contact_id, topic = self._unsubscribe.loads(token)
            if type(contact_id) is not int or not isinstance(topic, str):
                raise ValueError
        except (BadData, ValueError, TypeError):
            raise InvalidToken("This link is not one of ours, or a part of it is missing.") from None
        return Unsubscribe(contact_id, topic)

    def sign_clicks(self, row: int, key: str, urls: Sequence[str]) -> list[str]:
        """Return the tokens of links in the message of a ledger row; `key` is the message's own, 32 hex digits.

        A token carries its whole target, so that nothing else can be meant by it and nothing has to be kept for it:
        row and key, the address, and 128 bits of an HMAC under a key that signs nothing but clicks.
        """
        head = base64.urlsafe_b64encode(row.to_bytes(8, "big") + bytes.fromhex(key)).decode()
        bodies = [head + _encoded(url) for url in urls]
        return [body + _click_signature(self._click_keys[-1], body) for body in bodies]

    def read_click(self, token: str) -> Click:
        """Return what a click stands for; raises InvalidToken for anything we did not sign."""
        try:
            if not _HEAD + _SIGNATURE < len(token) <= _LONGEST_CLICK or not token.isascii():
                raise ValueError
            body, signature = token[:-_SIGNATURE], token[-_SIGNATURE:]
            if not any(hmac.compare_digest(signature, _click_signature(key, body)) for key in self._click_keys):
                raise ValueError
            head, url = _decoded(body[:_HEAD]), _decoded(body[_HEAD:]).decode("ascii")
            if CLICKABLE.fullmatch(url) is None:
                raise ValueError
        except ValueError:
            raise InvalidToken("This link is not one of ours, or a part of it is missing.") from None
        return Click(int.from_bytes(head[:8], "big"), head[8:].hex(), url)

    def address_hashes(self, address: str) -> list[str]:
        """Return the keyed hashes of a normalised address, one per key, the newest key's last.

        A suppression of an erased person holds the hash of the key that was newest then: look for any of
        these, store the last.
        """
        return [
            "hmac:" + hmac.new(key.encode(), f"evergreet.address:{address}".encode(), hashlib.sha256).hexdigest()
            for key in self._keys
        ]


def _click_signature(key: bytes, body: str) -> str:
    return base64.urlsafe_b64encode(hmac.digest(key, body.encode(), "sha256")[:16])[:_SIGNATURE].decode()


@lru_cache(maxsize=1024)
def _encoded(url: str) -> str:
    return base64.urlsafe_b64encode(url.encode("ascii")).rstrip(b"=").decode()


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@lru_cache(maxsize=256)
def _quoted(topic: str) -> str:
    return json.dumps(topic, ensure_ascii=False)
