"""Settings of the folder connector: `EVERGREET_FOLDER_…`."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.rows import RowColumns


class FolderSettings(RowColumns, BaseSettings):
    """Where the files are, and which column is what."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_FOLDER_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True,
        hide_input_in_errors=True,
    )  # fmt: skip

    path: Path = Field(description="Folder with .csv, .tsv and .jsonl files in UTF-8, a contact a row.")
    page: int = Field(default=500, ge=1, le=5000, description="Rows that are read and stored together.")
    settled: float = Field(
        default=10.0, ge=0, description="Seconds for which a file must not have changed before it is read."
    )
