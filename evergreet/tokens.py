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
        self._mac = hmac.new(derived, digestmod=hashlib.sha256)

    def sign_unsubscribe(self, contact_id: int, topic: str) -> str:
        """Return the token of the link that takes this contact off this topic; it is safe in a URL path."""
        payload = f"[{contact_id},{_quoted(topic)}]".encode()
        if _packs_no_shorter(
            payload
        ):  # then itsdangerous, too, would only encode and sign it, with a new key each time
            value = base64.urlsafe_b64encode(payload).rstrip(b"=")
            mac = self._mac.copy()
            mac.update(value)
            return f"{value.decode()}.{base64.urlsafe_b64encode(mac.digest()).rstrip(b'=').decode()}"
        token = self._unsubscribe.dumps([contact_id, topic])
        return token if isinstance(token, str) else token.decode()

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


def _packs_no_shorter(payload: bytes) -> bool:
    """Whether zlib is certain not to make it shorter: trying takes longer than all the rest.

    Six bytes are its frame. Where no three bytes come twice it refers to nothing, a fixed code has eight bits or
    more per byte, and a code of its own takes twelve bytes to describe (RFC 1951, 3.2.7).
    """
    size = len(payload)
    return size <= 24 and len({payload[n : n + 3] for n in range(size - 2)}) == size - 2
