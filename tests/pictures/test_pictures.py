"""What all pictures share: text that fits its room, and files that can be written."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from evergreet.errors import DataError
from evergreet.pictures import save, width_of, wrapped


def test_a_text_is_broken_between_words() -> None:
    assert wrapped("Product and support experience", 216, 15) == ["Product and support", "experience"]
    assert wrapped("Bonding", 216, 15) == ["Bonding"]
    assert wrapped("", 216, 15) == []


@given(some.text(max_size=60), some.floats(40, 300))
def test_every_line_fits_and_nothing_is_lost(text: str, room: float) -> None:
    lines = wrapped(text, room, 15)
    assert "".join(lines).replace(" ", "") == "".join(text.split())
    assert all(width_of(line, 15) <= room for line in lines)


def test_a_place_that_cannot_be_written_to_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be written to .*no_folder.*No such file"):
        save("<svg/>", tmp_path / "no_folder" / "funnel.svg")
