"""Each connector has a page with its settings, and a row in the table of what they can do."""

import importlib
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings
from typer.testing import CliRunner

from evergreet.cli import app
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
def test_a_connector_has_a_page_with_all_its_settings(name: str) -> None:
    page = (ROOT / "docs" / "connectors" / f"{name}.md").read_text("utf-8")
    classes = settings_of(name)
    assert classes, f"{name} has no settings class"
    for settings in classes:
        for field in settings.model_fields:
            variable = f"{settings.model_config.get('env_prefix')}{field.upper()}"
            assert f"`{variable}`" in page, f"docs/connectors/{name}.md does not say what {variable} is"


def test_the_table_is_what_the_classes_declare() -> None:
    told = CliRunner().invoke(app, ["connectors", "--markdown"]).output
    begin, end = "<!-- capabilities: begin -->\n", "<!-- capabilities: end -->\n"
    assert told == PAGE.partition(begin)[2].partition(end)[0], "put `evergreet connectors --markdown` between the marks"


@pytest.mark.parametrize("name", OURS)
def test_a_connector_says_what_it_was_proven_by(name: str) -> None:
    assert connector_class(name).capabilities.proven_by


@pytest.mark.parametrize("name", OURS)
def test_a_connector_has_a_test_class_that_passes_the_contract(name: str) -> None:
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests" / "connectors").rglob("test_*.py"))
    assert re.search(
        rf"\((?:(?:Crm|Email|Internal|Sms)Connector|Event)Contract\):\n    entry_point = \"{name}\"", tests
    ), f"no contract test of {name}"


def test_a_connector_class_that_is_written_is_also_an_entry_point() -> None:
    import connectors

    written = set()
    for info in pkgutil.walk_packages(connectors.__path__, "connectors."):
        for value in vars(importlib.import_module(info.name)).values():
            if (
                isinstance(value, type)
                and value.__module__ == info.name
                and {"from_environment", "name"} <= set(dir(value))
            ):
                written.add(f"{info.name}:{value.__name__}")
    assert written == {connector_entries()[name].value for name in OURS}
