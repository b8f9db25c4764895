"""Write `.env.example` from the settings classes: `python -m tests.env_example`."""

import importlib
import json
import pkgutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_core import to_jsonable_python
from pydantic_settings import BaseSettings

from evergreet.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
HEAD = """\
# Settings of Evergreet and of its connectors, all with their defaults. Copy this file to `.env` and take away
# the `# ` before what you change. A variable in the environment wins over the file; an empty one is not set.
"""


def render() -> str:
    """Return what `.env.example` has to say."""
    sections = [HEAD]
    for settings in settings_classes():
        sections.append(f"\n# ---- {_title(settings)} ----\n")
        for name, field in settings.model_fields.items():
            assert field.description, f"{settings.__name__}.{name} has no description"
            words = textwrap.wrap(field.description, width=107)
            required = field.is_required()
            sections.append("\n" + "".join(f"# {line}\n" for line in words))
            value = "" if required else written(field.get_default(call_default_factory=True))
            sections.append(f"# {variable(settings, name)}={value}\n")
    return "".join(sections)


def settings_classes() -> Iterator[type[BaseSettings]]:
    """Return the engine's settings, then those that stand beside the connectors."""
    yield Settings
    import connectors

    for module in pkgutil.walk_packages(connectors.__path__, "connectors."):
        for found in vars(importlib.import_module(module.name)).values():
            if isinstance(found, type) and issubclass(found, BaseSettings) and found.__module__ == module.name:
                yield found


def variable(settings: type[BaseSettings], field: str) -> str:
    """Return the name of the environment variable of a field."""
    return f"{settings.model_config.get('env_prefix', '')}{field}".upper()


def written(value: Any) -> str:
    """Return a default as one writes it in the file."""
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, (tuple, list, dict)):
        return json.dumps(to_jsonable_python(value)) if value else ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _title(settings: type[BaseSettings]) -> str:
    return (settings.__doc__ or settings.__name__).splitlines()[0].rstrip(".")


if __name__ == "__main__":
    (ROOT / ".env.example").write_text(render(), encoding="utf-8")
