"""The page on connectors names each connector with its settings and what it can do."""

import importlib
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from evergreet.registry import connector_class, connector_entries

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "connectors.md").read_text("utf-8")
OURS = sorted(
    name for name, entry in connector_entries().items() if entry.dist is not None and entry.dist.name == "evergreet"
)


def settings_of(name: str) -> list[type[BaseSettings]]:
    """The settings classes that the connector's module defines or imports."""
    module = importlib.import_module(connector_entries()[name].module)
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseSettings) and value.model_fields
    ]


def test_the_entry_points_of_the_project_are_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert sorted(project["entry-points"]["evergreet.connectors"]) == OURS


@pytest.mark.parametrize("name", OURS)
def test_a_connector_has_a_section_with_all_its_settings(name: str) -> None:
    section = re.search(rf"^## {name}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section, f"docs/connectors.md has no section {name}"
    classes = settings_of(name)
    assert classes, f"{name} has no settings class"
    for settings in classes:
        for field in settings.model_fields:
            variable = f"{settings.model_config.get('env_prefix')}{field.upper()}"
            assert f"`{variable}`" in section[1], f"docs/connectors.md does not say what {variable} is"


@pytest.mark.parametrize("name", OURS)
def test_a_connector_stands_in_the_table_with_what_it_declares(name: str) -> None:
    said = connector_class(name).capabilities

    def yes(able: object) -> str:
        return "yes" if able else "no"

    row = (
        f"| [`{name}`](#{name}) | {said.batch_limit} | {said.window} | {said.connections} | {yes(said.find)} "
        f"| {yes(said.idempotency)} | {yes(said.webhooks)} |"
    )
    assert row in PAGE.splitlines()


def test_the_page_names_no_connector_that_is_not_there() -> None:
    assert sorted(re.findall(r"^\| \[`(\w+)`\]", PAGE, re.MULTILINE)) == OURS


@pytest.mark.parametrize("name", OURS)
def test_a_connector_has_a_test_class_that_passes_the_contract(name: str) -> None:
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests" / "connectors").rglob("test_*.py"))
    assert re.search(rf"\(EmailConnectorContract\):\n    entry_point = \"{name}\"", tests), (
        f"no contract test of {name}"
    )


def test_a_connector_class_that_is_written_is_also_an_entry_point() -> None:
    import connectors

    written = set()
    for info in pkgutil.walk_packages(connectors.__path__, "connectors."):
        for value in vars(importlib.import_module(info.name)).values():
            if isinstance(value, type) and value.__module__ == info.name and hasattr(value, "from_environment"):
                written.add(f"{info.name}:{value.__name__}")
    assert written == {connector_entries()[name].value for name in OURS}
