"""What is repeated of a provider's words: short, without addresses, however long they are."""

from connectors.calling import said


def test_of_a_text_of_any_length_a_line_is_kept_and_no_half_address() -> None:
    assert said("a" * 1_000_000, "") == "a" * 300
    address = f"{'a' * 60}@{'b' * 60}.example"
    kept = said(" ".join([address] * 10_000), "key")
    assert set(kept.split()) == {"(address)"}
    assert said(f"Refused:\r\n<{address}> key.", "key") == "Refused: <(address)> (the key)"
