"""Settings of the SQL connector: `EVERGREET_SQL_…`."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.rows import RowColumns


class SqlSettings(RowColumns, BaseSettings):
    """Which database, what is asked, and how long to wait for it."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_SQL_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True,
        hide_input_in_errors=True,
    )  # fmt: skip

    url: SecretStr = Field(
        description="The database, as SQLAlchemy writes it: postgresql+psycopg://reader:password@host/shop."
    )
    query: str = Field(
        min_length=1,
        description="A SELECT that gives a contact a row, with the columns below: SELECT id, email, updated_at AS "
        "changed_at, first_name FROM customers.",
    )
    page: int = Field(default=500, ge=1, le=5000, description="Rows that are read and stored together.")
    overlap: float = Field(
        default=60.0, ge=0, le=86_400,
        description="Seconds that are read again each time: transactions that took so long are not missed.",
    )  # fmt: skip
    timeout: int = Field(default=30, ge=1, le=3600, description="Seconds that the database may take over a page.")
    connect_timeout: int = Field(default=10, ge=1, le=300, description="Seconds to wait for a connection.")
