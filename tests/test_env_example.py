"""`.env.example` names every setting there is, with its default, and no secret."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from evergreet.settings import Settings
from tests.env_example import ROOT, render, settings_classes, variable


def test_the_example_lists_exactly_all_settings_with_their_defaults() -> None:
    assert (ROOT / ".env.example").read_text("utf-8") == render(), "run: python -m tests.env_example"


def test_the_example_uncommented_means_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    (tmp_path / ".env").write_text(
        "\n".join(line.removeprefix("# ") for line in lines if line.startswith("# EVERGREET_"))
    )
    monkeypatch.chdir(tmp_path)
    assert Settings() == Settings(_env_file=None)


def test_a_setting_in_the_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("EVERGREET_COMPANY=Acme\n")
    monkeypatch.chdir(tmp_path)
    assert Settings().company == "Acme"


def test_secrets_have_no_default_worth_stealing() -> None:
    for settings in settings_classes():
        for name, field in settings.model_fields.items():
            default = field.get_default(call_default_factory=True)
            if isinstance(default, SecretStr) and variable(settings, name) != "EVERGREET_DATABASE_URL":
                assert default.get_secret_value() == "", f"{variable(settings, name)} has a default"


def test_every_settings_class_takes_an_empty_variable_as_not_set_and_hides_what_it_refuses() -> None:
    for settings in settings_classes():
        assert settings.model_config.get("env_ignore_empty"), settings.__name__
        assert settings.model_config.get("hide_input_in_errors"), settings.__name__
