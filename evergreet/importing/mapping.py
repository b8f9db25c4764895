"""Which column is what: from the command line, from a mapping file, and from columns that carry our names.

A mapping says `target = source`. The target is a field of what is imported (`email`, `occurred_at`, …) or any
other name, which becomes an attribute or a property, with a type where wanted (`amount:number`). The source
is a column, or a pattern with columns in braces (`{user_id}@example.test`).
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evergreet.errors import DataError
from evergreet.importing.rejects import Rejected, shown
from evergreet.importing.values import Kind, recognised, typed

_PATTERN = re.compile(r"\{([^{}]+)\}")


class MappingFile(BaseModel):
    """What a mapping file (YAML or TOML) may say; the command line goes before it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str | None = None
    timezone: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    types: Literal["auto", "text"] | None = None
    create_contacts: bool | None = None
    map: dict[str, str] = Field(default_factory=dict)
    set: dict[str, str | int | float | bool] = Field(default_factory=dict)
    ignore: tuple[str, ...] = ()


def read_mapping_file(path: Path) -> MappingFile:
    """Read a mapping file; what is wrong in it is a `DataError` that names the place."""
    try:
        content = path.read_text(encoding="utf-8-sig")
        found = tomllib.loads(content) if path.suffix.lower() == ".toml" else yaml.safe_load(content)
        return MappingFile.model_validate({} if found is None else found)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in error.errors())
        raise DataError(f"The mapping file {path} cannot be used: {problems}.") from None
    except (tomllib.TOMLDecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"The mapping file {path} cannot be read: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise DataError(f"The mapping file {path} cannot be read: {error.strerror}.") from None


@dataclass(frozen=True, slots=True)
class Columns:
    """A mapping as it was written, not yet compared with a file."""

    map: Mapping[str, str] = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)
    ignore: Sequence[str] = ()
    types: Literal["auto", "text"] = "auto"

    @classmethod
    def from_options(
        cls, maps: Iterable[str], sets: Iterable[str], ignore: Iterable[str], types: Literal["auto", "text"] | None,
        file: MappingFile,
    ) -> "Columns":  # fmt: skip
        """Join what the command line says (`target=source`, `target=value`) with a mapping file."""
        return cls(
            map={**file.map, **_pairs(maps, "--map", alone=True)},
            set={**file.set, **_pairs(sets, "--set", alone=False)},
            ignore=[*file.ignore, *ignore],
            types=types or file.types or "auto",
        )


def _pairs(options: Iterable[str], option: str, *, alone: bool) -> dict[str, str]:
    """Read `name=value`; a typed name may stand alone (`amount:number`) and means the column of that name."""
    pairs: dict[str, str] = {}
    for written in options:
        name, equals, value = (part.strip() for part in written.partition("="))
        if not equals and alone and ":" in name:
            value = name.rpartition(":")[0]
        if not name or not value:
            raise DataError(f"{option} {written!r}: write {option} FIELD={'COLUMN' if alone else 'VALUE'}.")
        pairs[name] = value
    return pairs


@dataclass(frozen=True, slots=True)
class _Getter:
    """Where one target's value comes from: a column, a pattern of columns, or a constant."""

    target: str
    columns: tuple[str, ...] = ()
    pattern: tuple[str, ...] | None = None
    constant: Any = None
    kind: Kind | None = None

    def get(self, values: Mapping[str, Any]) -> Any:
        """Return the value; a pattern with an empty column in it has none."""
        if not self.columns:
            found: Any = self.constant
        elif self.pattern is None:
            found = values.get(self.columns[0])
        else:
            found = self._filled(values)
        return typed(found, self.kind, self.target) if self.kind else found

    def _filled(self, values: Mapping[str, Any]) -> str | None:
        parts = [self.pattern[0]] if self.pattern else []
        for column, literal in zip(self.columns, self.pattern[1:] if self.pattern else (), strict=True):
            value = values.get(column)
            if isinstance(value, (bool, dict, list)):
                raise Rejected("wrong type", f"{column} is {shown(value)}, which cannot be a part of {self.target}")
            text = "" if value is None else str(value).strip()
            if not text:
                return None
            parts += (text, literal)
        return "".join(parts)


class Plan:
    """A mapping bound to the columns of one file."""

    def __init__(
        self, getters: Mapping[str, _Getter], fields: Iterable[str], skip: Iterable[str], *, guess: bool
    ) -> None:
        self.fields = {target: getter for target, getter in getters.items() if _is_field(target, fields)}
        self.extras = {target: getter for target, getter in getters.items() if target not in self.fields}
        self._skip = frozenset(skip)
        self._guess = guess

    def has(self, target: str) -> bool:
        """Whether the file, or a constant, gives this field."""
        return target in self.fields

    def get(self, record: Mapping[str, Any], target: str) -> Any:
        """Return the value of a field as it stands in the record; None where there is none."""
        getter = self.fields.get(target)
        return None if getter is None else getter.get(record)

    def reader(self, target: str) -> Callable[[Mapping[str, Any]], Any]:
        """Return what `get` does for one field, decided once for all records."""
        getter = self.fields.get(target)
        if getter is None:
            return _nothing
        if len(getter.columns) == 1 and getter.pattern is None and getter.kind is None:
            return partial(_column, getter.columns[0])
        return getter.get

    def holds(self, record: Mapping[str, Any], target: str) -> bool:
        """Whether this record has the field at all: a JSON object may leave a name out."""
        getter = self.fields.get(target)
        return getter is not None and (not getter.columns or any(column in record for column in getter.columns))

    def rest(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return all columns that are not used otherwise; an empty CSV cell is None."""
        found: dict[str, Any] = {}
        skip, guess = self._skip, self._guess
        for name, value in record.items():
            if name not in skip:
                found[name] = None if value == "" else recognised(value) if guess else value
        for target, getter in self.extras.items():
            if not getter.columns or any(column in record for column in getter.columns):
                value = getter.get(record)
                as_written = getter.kind or getter.pattern or not getter.columns
                found[target] = self._kept(value, guess=self._guess and not as_written)
        return found

    @staticmethod
    def _kept(value: Any, *, guess: bool) -> Any:
        if value == "":
            return None
        return recognised(value) if guess else value


def _nothing(_record: Mapping[str, Any]) -> None:
    return None


def _column(name: str, record: Mapping[str, Any]) -> Any:
    return record.get(name)


def _is_field(target: str, fields: Iterable[str]) -> bool:
    return any(target == name or (name.endswith(".") and target.startswith(name)) for name in fields)


def bind(columns: Columns, found: Sequence[str], fields: Sequence[str], *, are_text: bool, path: Path) -> Plan:
    """Compare a mapping with the columns of a file.

    `fields` are the names that mean something to what is imported; one that ends in a dot is a beginning.
    A column of such a name is used without being mapped. `are_text`: the values are CSV cells.
    Raises `DataError` for a column that the file does not have.
    """
    getters: dict[str, _Getter] = {}
    for written, source in columns.map.items():
        target, kind = _target(written)
        getters[target] = _source(target, kind, source)
    for written, value in columns.set.items():
        target, kind = _target(written)
        if target in getters:
            raise DataError(f"{target} is both mapped and set to {value!r}; choose one.")
        getters[target] = _Getter(target, constant=value, kind=kind)
    needed = {column for getter in getters.values() for column in getter.columns}
    if unknown := sorted({*needed, *columns.ignore}.difference(found)):
        rows = "" if are_text else " in its first rows"
        raise DataError(
            f"{path} has no column {unknown[0]!r}{rows}; it has: {', '.join(found) or 'none'}. Mend the mapping."
        )
    for name in found:
        if _is_field(name, fields) and name not in getters and name not in columns.ignore:
            getters[name] = _Getter(name, columns=(name,))
    used = {getter.columns[0] for getter in getters.values() if getter.columns and getter.pattern is None}
    return Plan(getters, fields, {*used, *columns.ignore}, guess=are_text and columns.types == "auto")


def _target(written: str) -> tuple[str, Kind | None]:
    name, colon, wanted = written.rpartition(":")
    if not colon:
        return written, None
    kinds: tuple[Kind, ...] = get_args(Kind)
    for kind in kinds:
        if kind == wanted:
            return name, kind
    raise DataError(f"{written!r}: {wanted!r} is not a type; write {' or '.join(kinds)}.")


def _source(target: str, kind: Kind | None, source: str) -> _Getter:
    pieces = _PATTERN.split(source)
    if len(pieces) == 1:
        return _Getter(target, columns=(source,), kind=kind)
    return _Getter(target, columns=tuple(pieces[1::2]), pattern=tuple(pieces[0::2]), kind=kind)
