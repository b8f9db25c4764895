"""Importing what a company writes: what is wrong in a file is said in a sentence with its place."""

import importlib
import traceback
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from evergreet.errors import DefinitionError, EvergreetError


def load(name: str) -> ModuleType:
    """Import a module of campaigns or of a lifecycle.

    Raises DefinitionError, with the file and line, for whatever is wrong in it. That it is not there at all is left to
    the caller, who knows which setting named it.
    """
    try:
        return importlib.import_module(name)
    except DefinitionError as error:
        raise DefinitionError(f"{_place(name, error)}: {error}") from None
    except EvergreetError:
        raise
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise
        raise DefinitionError(f"{_place(name, error)}: {_said(error)}") from error


def _place(name: str, error: Exception) -> str:
    """Say where it went wrong: the last line in a file of that package, else the module."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    found = find_spec(name.partition(".")[0])
    if found is None or found.origin is None:
        return name
    origin = Path(found.origin)
    ours = [
        f"{frame.filename}, line {frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == origin
        or (found.submodule_search_locations and origin.parent in Path(frame.filename).parents)
    ]
    return ours[-1] if ours else name


def _said(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.msg}: {(error.text or '').strip()}"
    return f"{type(error).__name__}: {error}"
