"""Settings of the Google Sheets connector: `EVERGREET_SHEETS_…`."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.addressing import is_this_machine
from connectors.rows import RowColumns


def _is_published(url: SecretStr) -> SecretStr:
    """Return the address of a sheet; a ValueError for one that is not Google's, but for one on this machine."""
    parts = urlsplit(url.get_secret_value())
    google = parts.scheme == "https" and parts.netloc == "docs.google.com"
    if not (google or (parts.scheme == "http" and is_this_machine(parts.hostname or ""))):
        raise ValueError("write the link that Google Sheets gives: https://docs.google.com/spreadsheets/d/e/…")
    return url


class SheetsSettings(RowColumns, BaseSettings):
    """Which sheet, which column is what, and how long to wait for it."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_SHEETS_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True,
        hide_input_in_errors=True,
    )  # fmt: skip

    url: Annotated[SecretStr, AfterValidator(_is_published)] = Field(
        description="Link of a sheet that is published as CSV (File, Share, Publish to web): who has it reads it."
    )
    page: int = Field(default=1000, ge=1, le=5000, description="Rows that are stored together.")
    timeout: float = Field(default=60.0, gt=0, description="Seconds that the whole sheet may take.")
    connect_timeout: float = Field(default=10.0, gt=0, description="Seconds for reaching the server.")
