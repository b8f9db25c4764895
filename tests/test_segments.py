"""An SMS is counted in the parts it is paid in."""

import pytest

from evergreet.segments import segments_of


@pytest.mark.parametrize(
    ("text", "encoding", "count"),
    [
        ("", "GSM-7", 1),
        ("a" * 160, "GSM-7", 1),
        ("a" * 161, "GSM-7", 2),
        ("a" * 306, "GSM-7", 2),
        ("a" * 307, "GSM-7", 3),
        ("Grüße, Ærø: 5 £ @ 10 %\n", "GSM-7", 1),
        ("€" * 80, "GSM-7", 1),
        ("€" * 81, "GSM-7", 2),
        ("€" * 152, "GSM-7", 2),
        ("€" * 153, "GSM-7", 3),  # 306 places, but the escape and its letter stay together: 76 in each part
        ("{" + "a" * 158, "GSM-7", 1),
        ("a" * 152 + "€" + "a" * 151, "GSM-7", 2),
        ("a" * 152 + "€" + "a" * 152, "GSM-7", 3),
        ("ç", "UCS-2", 1),
        ("я" * 70, "UCS-2", 1),
        ("я" * 71, "UCS-2", 2),
        ("я" * 134, "UCS-2", 2),
        ("я" * 135, "UCS-2", 3),
        ("😀" * 35, "UCS-2", 1),
        ("😀" * 36, "UCS-2", 2),
        ("😀" * 66, "UCS-2", 2),
        ("😀" * 67, "UCS-2", 3),  # 67 places hold 33 of them
        ("a" * 69 + "’", "UCS-2", 1),
        ("a\u200b", "UCS-2", 1),
    ],
)
def test_a_text_goes_in_so_many_parts(text: str, encoding: str, count: int) -> None:
    segments = segments_of(text)
    assert (segments.encoding, segments.count, segments.characters) == (encoding, count, len(text))


def test_it_says_so_in_words() -> None:
    assert str(segments_of("Hello")) == "5 characters, GSM-7, 1 segment"
    assert str(segments_of("я" * 71)) == "71 characters, UCS-2, 2 segments"
