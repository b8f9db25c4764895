"""Rows of CSV and JSONL, good and bad, with the line they begin on."""

from pathlib import Path

import pytest

from evergreet.importing.reading import LONGEST_LINE, open_source
from evergreet.importing.records import BATCH_CHARACTERS, Record, in_batches, read_records


def _read(path: Path, content: str | bytes, name: str) -> list[Record]:
    (path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with read_records(open_source(path / name)) as records:
        return list(records)


def _csv(path: Path, content: str | bytes) -> list[Record]:
    return _read(path, content, "input.csv")


def _good(records: list[Record]) -> list[tuple[int, str | None]]:
    return [(record.line, record.values["name"]) for record in records if record.problem is None]


def _bad(records: list[Record]) -> list[tuple[int, str]]:
    return [(record.line, record.problem.reason) for record in records if record.problem]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_quoted_line_ends_stay_in_the_cell_and_lines_are_counted(end: str, tmp_path: Path) -> None:
    records = _csv(tmp_path, end.join(["id,name", '1,"Ann', 'of ""Green Gables"""', "2,Bob", "", "3,Eve", ""]))
    assert _good(records) == [(2, f'Ann{end}of "Green Gables"'), (4, "Bob"), (6, "Eve")]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    assert _csv(tmp_path, "\ufeffid,name\n1,Ann\n")[0].values == {"id": "1", "name": "Ann"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_header(delimiter: str, tmp_path: Path) -> None:
    text = f"id{delimiter}name{delimiter}city\n1{delimiter}Ann{delimiter}Rome\n"
    assert _csv(tmp_path, text)[0].values == {"id": "1", "name": "Ann", "city": "Rome"}


def test_ragged_rows_are_rejected_one_by_one(tmp_path: Path) -> None:
    records = _csv(tmp_path, "id,name\n1,Ann\n2\n3,Bob,x\n4,Eve\n")
    assert _good(records) == [(2, "Ann"), (5, "Eve")]
    assert _bad(records) == [(3, "ragged row"), (4, "ragged row")]


def test_a_quote_left_open_rejects_its_line_and_no_other(tmp_path: Path) -> None:
    good = "".join(f"{number},Ann\n" for number in range(3, 30))
    records = _csv(tmp_path, f'id,name\n1,"Ann\n{good}')
    assert _bad(records) == [(2, "not CSV")]
    assert records[0].raw == '1,"Ann\n'
    assert len(_good(records)) == 27
    assert _good(records)[0] == (3, "Ann")


def test_two_quotes_left_open_do_not_swallow_what_stands_between(tmp_path: Path) -> None:
    records = _csv(tmp_path, 'id,name\n1,"Ann\n2,Bob\n3,"Eve\n4,Joe\n')
    assert _bad(records) == [(2, "not CSV"), (4, "not CSV")]
    assert _good(records) == [(3, "Bob"), (5, "Joe")]


def test_a_cell_beyond_the_limit_of_csv_is_rejected(tmp_path: Path) -> None:
    records = _csv(tmp_path, f"id,name\n1,{'x' * 200_000}\n2,Bob\n")
    assert _bad(records) == [(2, "too long")]
    assert _good(records) == [(3, "Bob")]


def test_a_line_beyond_the_limit_is_rejected_without_being_kept(tmp_path: Path) -> None:
    for name, head, row in (("a.csv", "id,name\n", "2,Bob"), ("a.jsonl", '{"name": "Ann"}\n', '{"name": "Bob"}')):
        records = _read(tmp_path, f"{head}1,{'x' * (3 * LONGEST_LINE)}\n{row}\n", name)
        assert _bad(records) == [(2, "too long")]
        assert _good(records)[-1] == (3, "Bob")
        assert all(len(record.raw) < 2000 for record in records)


def test_nul_characters_are_rejected(tmp_path: Path) -> None:
    records = _csv(tmp_path, "id,name\n1,An\x00n\n" + "2,Bob\n" * 20)
    assert _bad(records) == [(2, "NUL character")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "not JSON"),
        ("null", "not JSON"),
        ('"text"', "not JSON"),
        ('{"name": NaN}', "not a number"),
        ('{"name": -Infinity}', "not a number"),
        ('{"name": 1e999}', "not a number"),
        ('{"name": 99999999999999999999}', "number too large"),
        ('{"name": ' + "9" * 5000 + "}", "not JSON"),
        ('{"name": "a\\u0000b"}', "NUL character"),
        ('{"a\\u0000b": 1}', "NUL character"),
        ('{"name": ["\\ud800"]}', "broken character"),
        ('{"name": {"deep": "\\udc80"}}', "wrong encoding"),
        ('{"name": 1, "name": 2}', "not JSON"),
        ('{"name": ' + "[" * 70 + "]" * 70 + "}", "nested too deeply"),
        ('{"name": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
    ],
)
def test_json_that_no_store_can_hold_is_rejected(line: str, reason: str, tmp_path: Path) -> None:
    records = _read(tmp_path, f'{{"name": "Ann"}}\r\n{line}\n\n{{"name": "Bob"}}', "input.jsonl")
    assert _bad(records) == [(2, reason)]
    assert _good(records) == [(1, "Ann"), (4, "Bob")]


def test_a_backslash_before_u0000_that_is_only_text_is_kept(tmp_path: Path) -> None:
    records = _read(tmp_path, '{"name": "a\\\\u0000b"}', "input.jsonl")
    assert _good(records) == [(1, "a\\u0000b")]


def test_line_separators_inside_json_text_do_not_end_the_line(tmp_path: Path) -> None:
    records = _read(tmp_path, '{"name": "a\u2028b\u0085c"}\n{"name": "Bob"}\n', "input.jsonl")
    assert _good(records) == [(1, "a\u2028b\u0085c"), (2, "Bob")]


def test_batches_end_early_when_rows_are_long() -> None:
    long = Record(1, "x" * (BATCH_CHARACTERS // 3 + 1), {})
    assert [len(batch) for batch in in_batches([long] * 7, 5)] == [3, 3, 1]
    assert [len(batch) for batch in in_batches([Record(1, "x", {})] * 7, 5)] == [5, 2]
