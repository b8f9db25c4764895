"""Settings of the Pipedrive connector: `EVERGREET_PIPEDRIVE_…`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.addressing import can_be_sent, keeps_the_key

FIELDS = {"first_name": "first_name", "last_name": "last_name", "phone": "phone"}
"""Fields of a person that are read, and what they are called here."""

Key = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
"""The key of a custom field."""
Known = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{40}|[a-z_]{1,60})$")]
"""A custom field's key, or the name of one that every person has."""


class PipedriveSettings(BaseSettings):
    """Which Pipedrive company, what of its persons is read and written, and how long to wait for it."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_PIPEDRIVE_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True,
        hide_input_in_errors=True,
    )  # fmt: skip

    token: Annotated[SecretStr, AfterValidator(can_be_sent)] = Field(
        description="API token of a user; sent over HTTPS only, unless the server is this machine."
    )
    webhook_user: str = Field(default="", description="HTTP auth username of its webhooks …")
    webhook_password: SecretStr = Field(
        default=SecretStr(""), description="… and the HTTP auth password; without them none is taken."
    )
    base_url: Annotated[str, AfterValidator(keeps_the_key)] = Field(
        default="https://api.pipedrive.com", description="Where its API is, as in https://acme.pipedrive.com."
    )
    fields: dict[Known, str] = Field(
        default=FIELDS, description="JSON: fields that are read, and what they are called here; instead of these."
    )
    stage_field: Key | Literal[""] = Field(
        default="", description="Key of the custom field (text) that a contact's stage is written to; empty: none."
    )
    last_message_field: Key | Literal[""] = Field(
        default="", description="Key of the custom field (text) for the last message; empty: none."
    )
    last_message_at_field: Key | Literal[""] = Field(
        default="", description="Key of the custom field (date) for when it was sent; empty: none."
    )
    topic_fields: dict[str, Key] = Field(
        default={}, description="JSON: keys of custom fields (text) for consent to our topics; they are written only."
    )
    marketing: bool = Field(
        default=False, description="The company has Campaigns: its marketing status is read and written."
    )
    task_type: str = Field(
        default="task", pattern=r"^[a-z0-9_]{1,60}$", description="Type of activities that are made."
    )
    task_owner: str = Field(
        default="", pattern=r"^\d{0,18}$", description="Id of their owner; empty: the token's user."
    )
    lag_seconds: int = Field(
        default=60, ge=0, le=86_400, description="Changes may become visible this late: so much is read again."
    )
    connections: int = Field(default=2, ge=1, le=64, description="Requests that are under way side by side.")
    connect_timeout: float = Field(default=10, gt=0, le=600, description="Seconds for reaching the server.")
    timeout: float = Field(default=30, gt=0, le=600, description="Seconds for each wait once it is reached.")
