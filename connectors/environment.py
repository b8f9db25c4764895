"""Reading a connector's settings class from the environment, with a sentence for what is wrong."""

from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from evergreet.errors import Misconfigured

Settings = TypeVar("Settings", bound=BaseSettings)


def read_settings(kind: type[Settings]) -> Settings:
    """Build the settings from environment variables and `.env`.

    Raises `Misconfigured` naming each variable that is missing or wrong, never its value: it may be a secret.
    """
    try:
        return kind()
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        raise Misconfigured(
            " ".join(
                f"{prefix}{'_'.join(str(part) for part in problem['loc'])}".rstrip("_").upper() + f": {problem['msg']}."
                for problem in error.errors(include_input=False, include_url=False)
            )
        ) from None
