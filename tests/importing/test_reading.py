"""Files that cannot be used: each is one sentence that says what to do."""

import gzip
import os
import random
from pathlib import Path

import pytest

from evergreet.errors import DataError
from evergreet.importing import reading
from evergreet.importing.reading import open_source
from evergreet.importing.records import read_records
from tests.importing.conftest import Loading, outcome

PEOPLE = "id,name\n" + "".join(f"{number},Ann {number}\n" for number in range(1, 2001))


def _records(path: Path, encoding: str | None = None) -> list[dict[str, str]]:
    with read_records(open_source(path, encoding)) as records:
        found = list(records)
    assert all(record.problem is None for record in found)
    return [record.values for record in found]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\xef\xbb\xbf", "is empty|not CSV|no name"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"PK\x03\x04" + b"x" * 100, "Excel workbook"),
        (random.Random(1).randbytes(5000), "not a text file"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00", "not a text file"),
        ("id,name\n1,Ann".encode("utf-16-le"), "--encoding utf-16-le"),
        (b"\x1f\x8bnot gzip at all", "damaged gzip"),
        (b"id,name,id\n1,2,3\n", "column 'id' twice"),
        (b"id,,name\n1,2,3\n", "column 2 of the header has no name"),
        (b'id,"name\n1,Ann\n', "is a quote left open"),
        (b"id,na\x00me\n" + b"1,Ann\n" * 50, "NUL"),
        ("id,name\n1,Jürgen Peña\n".encode("cp1252"), "--encoding cp1252 reads '1,Jürgen Peña'"),
        (b"x" * (reading.LONGEST_LINE + 5), "first line has more than 1,048,576"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_sentence(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "input.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=sentence) as caught:
        _records(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_a_folder_and_a_pipe_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        open_source(tmp_path / "missing.csv")
    with pytest.raises(DataError, match="is a folder"):
        open_source(tmp_path)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match="not an ordinary file"):
        open_source(tmp_path / "pipe.csv")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be read"):
        open_source(tmp_path / "file" / "inside.csv")


@pytest.mark.parametrize("name", ["nonsense", "base64", "rot13"])
def test_an_encoding_that_is_none_is_a_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / "input.csv").write_text("id\n1\n")
    with pytest.raises(DataError, match="no such text encoding"):
        open_source(tmp_path / "input.csv", name)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_files_that_say_their_encoding_are_read(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "input.csv").write_bytes("id,name\r\n1,Jürgen\r\n".encode(encoding))
    assert _records(tmp_path / "input.csv") == [{"id": "1", "name": "Jürgen"}]


@pytest.mark.parametrize("encoding", ["cp1252", "cp1250", "shift_jis", "utf-16-le", "utf-8"])
def test_a_named_encoding_is_used(encoding: str, tmp_path: Path) -> None:
    name = "田中" if encoding == "shift_jis" else "Jürgen"
    (tmp_path / "input.csv").write_bytes(f"id,name\n1,{name}\n".encode(encoding))
    assert _records(tmp_path / "input.csv", encoding) == [{"id": "1", "name": name}]


def test_the_advice_for_an_unknown_encoding_shows_how_each_would_read(tmp_path: Path) -> None:
    (tmp_path / "input.csv").write_bytes(
        "id,name\n1,Peña\n2,Łukasz\n".encode("cp1250", "replace").replace(b"Pe?a", b"Pe\xf1a")
    )
    with pytest.raises(DataError, match="--encoding cp1250 reads '1,Peńa'") as caught:
        open_source(tmp_path / "input.csv")
    assert "--encoding cp1252 reads '1,Peña'" in str(caught.value)


def test_broken_bytes_in_a_utf8_file_reject_their_row_only(load_embedded: Loading) -> None:
    rows = "".join(f"{number},Jürgen,x\n" for number in range(40)).encode()
    summary = load_embedded("contacts", b"source_id,first_name,city\n" + rows + b"99,Bj\xf6rn,x\n100,Zo\xc3\xab,y\n")
    assert outcome(summary) == (42, 41, 0, 0, 1)
    assert "42,wrong encoding: byte 0xf6 is not UTF-8" in load_embedded.rejects


def test_a_file_that_leaves_its_encoding_later_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "input.csv"
    path.write_bytes("id,name\n1,Ann\n".encode("utf-16") + b"\x00")
    with pytest.raises(DataError, match="is not utf-16 after line"):
        _records(path)


@pytest.mark.parametrize("cut", [20, 200, -9, -1])
def test_a_truncated_gzip_is_a_sentence(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "input.csv.gz"
    path.write_bytes(gzip.compress(PEOPLE.encode(), mtime=0)[:cut])
    with pytest.raises(DataError, match="damaged gzip"):
        _records(path)


def test_a_corrupted_gzip_is_a_sentence(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(PEOPLE.encode(), mtime=0))
    packed[len(packed) // 2] ^= 0xFF
    (tmp_path / "input.csv.gz").write_bytes(packed)
    with pytest.raises(DataError, match="damaged gzip"):
        _records(tmp_path / "input.csv.gz")


def test_a_whole_gzip_is_read_whatever_its_name(tmp_path: Path) -> None:
    for name in ("people.csv.gz", "people.csv", "people"):
        (tmp_path / name).write_bytes(gzip.compress(PEOPLE.encode()))
        assert len(_records(tmp_path / name)) == 2000


def test_the_format_follows_the_name_or_else_the_content(tmp_path: Path) -> None:
    for name, content, expected in [
        ("a.jsonl", '{"id": "1"}', "jsonl"), ("a.ndjson", '{"id": "1"}', "jsonl"), ("a.JSONL", '{"id": "1"}', "jsonl"),
        ("a.csv", "{id\n1", "csv"), ("a", '{"id": "1"}', "jsonl"), ("a.tsv", "id\tname\n1\tAnn", "csv"),
    ]:  # fmt: skip
        (tmp_path / name).write_text(content)
        assert open_source(tmp_path / name).format == expected, name
