"""Unsubscribe links: only ours, for ever, and through a change of keys."""

import base64
import hashlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer

from evergreet.errors import ConfigurationError
from evergreet.tokens import LONGEST, InvalidToken, Tokens, Unsubscribe

OLD, NEW, STRANGE = "an old key " * 3, "a new key " * 3, "a key of others " * 3


@given(contact_id=st.integers(1, 2**63 - 1), topic=st.text(min_size=1, max_size=60))
def test_a_link_says_what_it_was_made_for_and_fits_a_url_path(contact_id: int, topic: str) -> None:
    token = Tokens([NEW]).sign_unsubscribe(contact_id, topic)
    assert re.fullmatch(r"[A-Za-z0-9._-]+", token)
    assert Tokens([NEW]).read_unsubscribe(token) == Unsubscribe(contact_id, topic)


def test_a_link_made_before_a_change_of_keys_goes_on_working() -> None:
    token = Tokens([OLD]).sign_unsubscribe(7, "orders")
    assert Tokens([OLD, NEW]).read_unsubscribe(token) == Unsubscribe(7, "orders")


def test_new_links_are_signed_with_the_newest_key() -> None:
    token = Tokens([OLD, NEW]).sign_unsubscribe(7, "orders")
    assert Tokens([NEW]).read_unsubscribe(token) == Unsubscribe(7, "orders")
    with pytest.raises(InvalidToken):
        Tokens([OLD]).read_unsubscribe(token)


def test_no_part_of_a_link_is_a_link() -> None:
    token = Tokens([NEW]).sign_unsubscribe(7, "orders")
    for length in range(len(token)):
        with pytest.raises(InvalidToken):
            Tokens([NEW]).read_unsubscribe(token[:length])


def test_a_link_for_someone_else_cannot_be_made_from_ours() -> None:
    payload, _, signature = Tokens([NEW]).sign_unsubscribe(7, "orders").rpartition(".")
    other = base64.urlsafe_b64encode(json.dumps([8, "orders"]).encode()).decode().rstrip("=")
    for forged in (f"{other}.{signature}", f".{other}.{signature}", f"{payload}.", payload, f"{payload}.AAAA"):
        with pytest.raises(InvalidToken):
            Tokens([NEW]).read_unsubscribe(forged)


def test_a_link_signed_with_a_strange_key_or_for_another_purpose_is_refused() -> None:
    strange = Tokens([STRANGE]).sign_unsubscribe(7, "orders")
    plain = str(URLSafeSerializer(NEW).dumps([7, "orders"]))
    for token in (strange, plain):
        with pytest.raises(InvalidToken):
            Tokens([NEW]).read_unsubscribe(token)


@given(st.one_of(st.text(max_size=80), st.text(alphabet="abcXYZ019._-", max_size=80)))
def test_nothing_that_is_not_ours_is_read(token: str) -> None:
    with pytest.raises(InvalidToken):
        Tokens([NEW]).read_unsubscribe(token)


def test_an_endless_token_is_not_looked_at() -> None:
    genuine = Tokens([NEW]).sign_unsubscribe(7, "o" * LONGEST * 2000)
    with pytest.raises(InvalidToken):
        Tokens([NEW]).read_unsubscribe(genuine + "A" * LONGEST)


def test_all_refusals_read_the_same() -> None:
    tokens = Tokens([NEW])
    token = tokens.sign_unsubscribe(7, "orders")
    said = set()
    for wrong in ("", "x", token[:-5], token + "x", Tokens([STRANGE]).sign_unsubscribe(7, "orders"), "a" * 9999):
        with pytest.raises(InvalidToken) as refused:
            tokens.read_unsubscribe(wrong)
        said.add(str(refused.value))
    assert len(said) == 1


@pytest.mark.parametrize("keys", [[], [""], ["good", ""]])
def test_missing_keys_are_refused(keys: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="EVERGREET_SECRET_KEYS"):
        Tokens(keys)


def test_an_address_has_one_hash_per_key_the_newest_last() -> None:
    hashes = Tokens([OLD, NEW]).address_hashes("maya@example.com")
    assert hashes == Tokens([OLD]).address_hashes("maya@example.com") + Tokens([NEW]).address_hashes("maya@example.com")
    assert len(set(hashes)) == 2
    assert all(re.fullmatch("hmac:[0-9a-f]{64}", one) for one in hashes)
    assert set(hashes).isdisjoint(Tokens([OLD, NEW]).address_hashes("noor@example.com"))


@given(
    contact_id=st.integers(1, 2**63 - 1) | st.integers(1, 10**7) | st.integers(1, 9).map(lambda n: int(str(n) * 9)),
    topic=st.text(max_size=14)
    | st.text(alphabet="ab1", max_size=14)
    | st.sampled_from(["orders", "news", "Angebote ü"]),
)
def test_a_link_is_signed_as_itsdangerous_signs_it(contact_id: int, topic: str) -> None:
    signer = URLSafeSerializer(
        [OLD, NEW],
        salt="evergreet.unsubscribe",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )
    assert signer.loads(Tokens([OLD, NEW]).sign_unsubscribe(contact_id, topic)) == [contact_id, topic]
