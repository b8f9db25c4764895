"""What is signed or hashed with the secret keys: unsubscribe links, and the addresses of erased people."""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from itsdangerous import BadData, URLSafeSerializer

from evergreet.errors import ConfigurationError, EvergreetError

LONGEST = 512
"""Characters; a longer token was not made here and is not looked at."""
LONGEST_PLAIN = 100
"""Octets of what a link stands for; what is longer is packed where that makes it shorter."""

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

    def address_hashes(self, address: str) -> list[str]:
        """Return the keyed hashes of a normalised address, one per key, the newest key's last.

        A suppression of an erased person holds the hash of the key that was newest then: look for any of
        these, store the last.
        """
        return [
            "hmac:" + hmac.new(key.encode(), f"evergreet.address:{address}".encode(), hashlib.sha256).hexdigest()
            for key in self._keys
        ]


@lru_cache(maxsize=256)
def _quoted(topic: str) -> str:
    return json.dumps(topic, ensure_ascii=False)
