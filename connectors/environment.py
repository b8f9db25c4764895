"""Reading a connector's settings class from the environment, with a sentence for what is wrong."""

from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

from evergreet.errors import Misconfigured, no_json, wrong_setting

Settings = TypeVar("Settings", bound=BaseSettings)


def read_settings(kind: type[Settings]) -> Settings:
    """Build the settings from environment variables and `.env`.

    Raises `Misconfigured` naming each variable that is missing or wrong, never its value: it may be a secret.
    """
    try:
        return kind()
    except ValidationError as error:
        prefix, between = kind.model_config.get("env_prefix", ""), kind.model_config.get("env_nested_delimiter") or "_"
        raise Misconfigured(
            " ".join(
                wrong_setting(
                    f"{prefix}{between.join(str(part) for part in problem['loc'])}".rstrip("_").upper(), problem
                )
                + "."
                for problem in error.errors(include_input=False, include_url=False)
            )
        ) from None
    except SettingsError as error:
        raise Misconfigured(f"{no_json(kind.model_config.get('env_prefix', ''), error)}.") from None
