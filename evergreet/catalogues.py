"""gettext catalogues of templates: found when a template is loaded, and kept with its sources.

A stored template version carries the translations of its own words, so that it renders the same without
files and a new translation makes a new version.
"""

import importlib.util
import logging
import re
from collections.abc import Iterable
from copy import deepcopy
from datetime import UTC, datetime
from functools import lru_cache
from gettext import NullTranslations
from io import BytesIO, StringIO
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po, write_po
from babel.support import Translations
from jinja2 import nodes
from jinja2.ext import extract_from_ast

from evergreet.errors import DefinitionError
from evergreet.localization import locale_named

_LINE = re.compile(r'(#.*|((msgctxt|msgid|msgid_plural|msgstr(\[\d+\])?)\s+)?"([^"\\]|\\.)*")?')
_PLACEHOLDER = re.compile(r"%\((\w+)\)s")
_FILLED = re.compile(r"%%|%\(\w+\)s")


def translations(trees: Iterable[nodes.Template], root: Path) -> dict[str, str]:
    """Return what the catalogues have for the words of these templates: .po text by source name.

    A template root's own catalogues (`<root>/locales/<language>/LC_MESSAGES/evergreet.po`) come before ours.
    """
    messages = {
        key for tree in trees for _line, function, message in extract_from_ast(tree)
        for key in [_message_key(function, message)] if key
    }  # fmt: skip
    paths: dict[str, list[Path]] = {}
    for path in catalogue_files(root):
        paths.setdefault(path.parts[-3], []).append(path)
    excerpts = {language: _excerpt(found, language, messages) for language, found in sorted(paths.items())}
    return {f"locales/{language}.po": text for language, text in excerpts.items() if text}


def catalogue_files(root: Path) -> list[Path]:
    """Return the catalogues of a template root, and ours after them."""
    return [path for folder in _folders(root) for path in sorted(folder.glob("*/LC_MESSAGES/evergreet.po"))]


def catalogues_at(root: Path) -> dict[str, NullTranslations]:
    """Return all translations by language, a template root's own before ours.

    What cannot be used is logged and left out: a slip must keep nobody from unsubscribing.
    """
    found: dict[str, NullTranslations] = {}
    for path in catalogue_files(root):
        language = path.parts[-3]
        try:
            read = deepcopy(read_catalogue(path, path.read_bytes()))
        except DefinitionError as error:
            logging.getLogger(__name__).error("%s", error)
            continue
        for entry in read:
            if entry.id and (fault := _fault_of(entry)):
                logging.getLogger(__name__).error("%s, line %s: %s", path, entry.lineno, fault)
                entry.string = ""
        made = _translations(read)
        found.setdefault(language, made)
        if found[language] is not made:
            found[language].add_fallback(made)
    return found


def catalogue_language(source_name: str) -> str | None:
    """Return the language of a source that is a catalogue; None for a template."""
    folder, _, file = source_name.partition("/")
    return file.removesuffix(".po") if folder == "locales" and file.endswith(".po") else None


def catalogue(language: str, po: str) -> NullTranslations:
    """Build translations from the text of a .po file."""
    return _translations(read_po(StringIO(po), locale=language))


@lru_cache(maxsize=64)
def read_catalogue(path: Path, content: bytes) -> Catalog:
    """Read the content of a .po file; what is read is not to be changed.

    Raises DefinitionError with the file, the line and what to write.
    """
    language = path.parts[-3]
    named = locale_named(language)
    if str(named) != language:
        raise DefinitionError(
            f"{path}: no contact reads {language!r}; name the folder "
            f"{f'{named}.' if named else 'as languages are named, such as de, pt_BR or zh_Hant.'}"
        )
    try:
        for number, line in enumerate(content.decode("utf-8").splitlines(), 1):
            if not _LINE.fullmatch(line.strip()):
                raise DefinitionError(f"{path}, line {number}: this is no line of a catalogue: {line.strip()[:60]}")
        return read_po(BytesIO(content), locale=language, charset="utf-8", abort_invalid=True)
    except UnicodeDecodeError:
        raise DefinitionError(f"{path}: this file is not UTF-8; save it as UTF-8.") from None
    except PoFileError as error:
        raise DefinitionError(f"{path}, line {error.lineno + 1}: {str(error).rpartition(' on ')[0]}.") from None


def _translations(read: Catalog) -> NullTranslations:
    binary = BytesIO()
    write_mo(binary, read)
    binary.seek(0)
    return Translations(fp=binary)


def _fault_of(entry: Message) -> str | None:
    """Say what keeps a translation from being filled in as the message is; None where nothing does."""
    ids, strings = (one if isinstance(one, (list, tuple)) else (one,) for one in (entry.id, entry.string))
    ids, strings = [one or "" for one in ids], [one for one in strings if one]
    names = {name for one in ids for name in _PLACEHOLDER.findall(one)} | ({"num"} if len(ids) > 1 else set())
    for string in strings:
        if unknown := [name for name in _PLACEHOLDER.findall(string) if name not in names]:
            has = ", ".join(f"%({name})s" for name in sorted(names))
            return f"the message has no %({unknown[0]})s; {f'it has {has}' if has else 'it has none such'}."
        if "%" in _FILLED.sub("", string) and "%" not in _FILLED.sub("", ids[0]):
            return f"write %% for a percent sign in {string[:60]!r}."
    return None


def _folders(root: Path) -> list[Path]:
    own = importlib.util.find_spec("locales")
    places = [root / "locales", *(map(Path, (own and own.submodule_search_locations) or ()))]
    return [folder for folder in places if folder.is_dir()]


def _message_key(function: str, message: str | tuple[str | None, ...] | None) -> tuple[str | None, str] | None:
    """Return context and id of an extracted message; None where it is not a constant."""
    parts = list(message) if isinstance(message, tuple) else [message]
    context = parts.pop(0) if function in {"pgettext", "npgettext"} and len(parts) > 1 else None
    return (context, parts[0]) if parts[0] is not None else None


def _excerpt(paths: list[Path], language: str, messages: set[tuple[str | None, str]]) -> str:
    """Return the translations of these messages, of the first catalogue that has one; always the same text.

    Raises DefinitionError for one that cannot be filled in: of these messages only, the others wait for theirs.
    """
    whole = [(path, read_catalogue(path, path.read_bytes())) for path in paths]
    fixed = datetime(2000, 1, 1, tzinfo=UTC)
    part = Catalog(locale=language, creation_date=fixed, revision_date=fixed)
    for context, text in sorted(messages, key=str):
        for path, each in whole:
            entry = each.get(text, context)
            if entry is not None and entry.string and not entry.fuzzy:
                if fault := _fault_of(entry):
                    raise DefinitionError(f"{path}, line {entry.lineno}: {fault}")
                part.add(entry.id, entry.string, context=context)
                break
    if not len(part):
        return ""
    written = BytesIO()
    write_po(written, part, omit_header=True, no_location=True, sort_output=True)
    return written.getvalue().decode()
