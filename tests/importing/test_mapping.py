"""Mappings: from the command line, from files, and what is wrong with them."""

from pathlib import Path
from typing import Any

import pytest

from evergreet.errors import DataError
from evergreet.importing.mapping import Columns, MappingFile, Plan, bind, read_mapping_file
from evergreet.importing.rejects import Rejected

FIELDS = ("source_id", "email", "consent.")
ROW = {"id": "7", "email": "ann@example.com", "price": "1.50", "zip": "12345", "consent.orders": "yes", "empty": ""}


def _plan(columns: Columns, row: dict[str, Any] = ROW, *, are_text: bool = True) -> Plan:
    return bind(columns, list(row), FIELDS, are_text=are_text, path=Path("people.csv"))


def test_columns_of_our_names_need_no_mapping_and_the_rest_is_kept() -> None:
    plan = _plan(Columns(map={"source_id": "id"}))
    assert plan.get(ROW, "source_id") == "7"
    assert plan.get(ROW, "email") == "ann@example.com"
    assert plan.get(ROW, "consent.orders") == "yes"
    assert plan.rest(ROW) == {"price": 1.5, "zip": 12345, "empty": None}
    assert not plan.has("consent.news")


def test_patterns_fill_in_columns_and_have_no_value_when_one_is_empty() -> None:
    plan = _plan(Columns(map={"source_id": "{id}/{zip}!", "email": "{empty}@example.test", "label": "n{id}"}))
    assert plan.get(ROW, "source_id") == "7/12345!"
    assert plan.get(ROW, "email") is None
    assert plan.rest(ROW)["label"] == "n7"
    assert plan.rest(ROW)["id"] == 7, "a column in a pattern is still a column"


def test_a_pattern_cannot_reach_into_objects() -> None:
    plan = _plan(Columns(map={"source_id": "{id}"}), {"id": {"__class__": 1}}, are_text=False)
    with pytest.raises(Rejected, match="wrong type"):
        plan.get({"id": {"__class__": 1}}, "source_id")
    with pytest.raises(DataError, match=r"has no column 'id\.__class__'"):
        _plan(Columns(map={"source_id": "{id.__class__}"}))


def test_a_column_used_for_an_id_is_still_the_email() -> None:
    for source in ("email", "{email}"):
        plan = _plan(Columns(map={"source_id": source}))
        assert plan.get(ROW, "source_id") == plan.get(ROW, "email") == "ann@example.com"


def test_types_constants_and_columns_to_leave_out() -> None:
    columns = Columns(map={"amount:number": "price", "zip:text": "zip"}, set={"shop": "berlin"}, ignore=["id", "empty"])
    assert _plan(columns).rest(ROW) == {"amount": 1.5, "zip": "12345", "shop": "berlin"}
    assert _plan(Columns(types="text")).rest(ROW) == {"id": "7", "price": "1.50", "zip": "12345", "empty": None}
    assert _plan(Columns(map={"total": "price"})).rest(ROW)["total"] == 1.5


def test_json_keeps_its_types() -> None:
    row = {"a": 1, "b": "1", "c": None, "d": [1], "e": ""}
    assert _plan(Columns(), row, are_text=False).rest(row) == {"a": 1, "b": "1", "c": None, "d": [1], "e": None}


def test_a_value_that_is_not_of_its_type_rejects_the_row() -> None:
    with pytest.raises(Rejected, match="not a number: price is 'cheap'"):
        _plan(Columns(map={"price:number": "price"})).rest({**ROW, "price": "cheap"})


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (Columns(map={"email": "mail"}), "people.csv has no column 'mail'; it has: id, email"),
        (Columns(map={"email": "{mail}@x.test"}), "no column 'mail'"),
        (Columns(ignore=["mail"]), "no column 'mail'"),
        (Columns(map={"price:money": "price"}), "'money' is not a type; write text or number or boolean"),
        (Columns(map={"email": "email"}, set={"email": "a@b.test"}), "both mapped and set"),
    ],
)
def test_a_mapping_that_does_not_fit_the_file_is_a_sentence(columns: Columns, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        _plan(columns)


def test_the_command_line_goes_before_the_mapping_file() -> None:
    file = MappingFile(map={"email": "mail", "source_id": "id"}, ignore=("x",), types="text")
    columns = Columns.from_options(["email=e=mail", "zip:text"], ["shop=berlin"], ["y"], None, file)
    assert columns == Columns(
        {"email": "e=mail", "source_id": "id", "zip:text": "zip"}, {"shop": "berlin"}, ["x", "y"], "text"
    )


@pytest.mark.parametrize("written", ["email", "=x", "email=", ""])
def test_a_mapping_option_that_says_nothing_is_a_sentence(written: str) -> None:
    with pytest.raises(DataError, match="write --map FIELD=COLUMN"):
        Columns.from_options([written], [], [], None, MappingFile())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "m.yaml",
            "source: shop\ncreate_contacts: true\n"
            'map:\n  email: "{id}@x.test"\n  amount:number: price\nset: {shop: 1}\n',
        ),
        (
            "m.toml",
            'source = "shop"\ncreate_contacts = true\n'
            '[map]\nemail = "{id}@x.test"\n"amount:number" = "price"\n[set]\nshop = 1\n',
        ),
    ],
)
def test_yaml_and_toml_say_the_same(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    assert read_mapping_file(tmp_path / name) == MappingFile(
        source="shop", create_contacts=True, map={"email": "{id}@x.test", "amount:number": "price"}, set={"shop": 1}
    )


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("m.yaml", "mapp: {}\n", "mapp: Extra inputs"),
        ("m.yaml", "- 1\n", "valid dictionary"),
        ("m.yaml", "a: [\n", "cannot be read"),
        ("m.yaml", "map: {email: 5}\n", "map.email"),
        ("m.yaml", "!!python/object/apply:os.getcwd []\n", "cannot be read"),
        ("m.toml", "= 1\n", "cannot be read"),
        ("m.yaml", b"\xff\xfe\xff", "cannot be read"),
        ("m.yaml", "types: clever\n", "types"),
    ],
)
def test_a_mapping_file_that_cannot_be_used_is_a_sentence(
    name: str, content: Any, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=sentence):
        read_mapping_file(tmp_path / name)


def test_a_missing_or_empty_mapping_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_mapping_file(tmp_path / "m.yaml")
    (tmp_path / "m.yaml").touch()
    assert read_mapping_file(tmp_path / "m.yaml") == MappingFile()
