import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreet import addresses
from evergreet.addresses import read_address
from evergreet.errors import DataError


def _vectors(fixtures: Path, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((fixtures / "vectors" / "email_validator_syntax.json").read_text("utf-8"))[
        kind
    ]
    assert len(found) > 20
    return found


def test_every_invalid_vector_is_refused_with_a_sentence(fixtures: Path) -> None:
    for vector in _vectors(fixtures, "invalid"):
        with pytest.raises(DataError, match="is not an email address: "):
            read_address(vector["input"])


def test_every_valid_vector_is_accepted_except_quotes_and_display_names(fixtures: Path) -> None:
    for vector in _vectors(fixtures, "valid"):
        expected = vector["expect"]
        if '"' in vector["input"] or "<" in vector["input"]:
            with pytest.raises(DataError):
                read_address(vector["input"])
            continue
        address = read_address(vector["input"])
        assert address.written == vector["input"]
        assert address.normalised == f"{expected['local_part']}@{expected['ascii_domain']}".lower()


@pytest.mark.parametrize(
    ("written", "normalised"),
    [
        ("Ann@Example.COM", "ann@example.com"),
        ("ann@Bücher.example", "ann@xn--bcher-kva.example"),
        ("ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
        ("STRAẞE@example.com", "straße@example.com"),
        ("Zoe\u0308@example.com", "zo\u00eb@example.com"),
        ("user_0001@example.test", "user_0001@example.test"),
    ],
)
def test_addresses_of_one_mailbox_are_the_same_when_normalised(written: str, normalised: str) -> None:
    address = read_address(written)
    assert address.normalised == normalised
    assert address.written == written


@pytest.mark.parametrize(
    "written",
    [
        "",
        "ann",
        " ann@example.com",
        "ann@test",
        "ann@shop.local",
        "ann@[10.0.0.1]",
        "a@b.co\r\nBcc: c@d.co",
        "a" * 65 + "@b.co",
    ],
)
def test_what_cannot_be_written_to_is_refused(written: str) -> None:
    with pytest.raises(DataError, match="is not an email address"):
        read_address(written)


@settings(deadline=None)
@given(
    local=st.text(st.sampled_from("aZ0._+-'é "), min_size=1, max_size=8),
    domain=st.sampled_from(["EXAMPLE.Com", "b-c.co", "x", "-a.com", "a..b", "localhost", "a.invalid", "b.test"]),
)
def test_a_plain_address_is_read_as_the_library_reads_it(local: str, domain: str) -> None:
    def verdict(read: Callable[[str], str]) -> str | None:
        try:
            return read(f"{local}@{domain}")
        except DataError as error:
            return str(error)

    assert verdict(lambda written: read_address(written).normalised) == verdict(addresses._normalised)
