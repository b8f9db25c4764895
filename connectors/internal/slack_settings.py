"""Settings of the Slack connector: `EVERGREET_SLACK_…`."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.internal.addresses import may_be_posted_to


class SlackChannel(BaseModel):
    """Where the incoming webhook of a channel is."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[SecretStr, AfterValidator(may_be_posted_to)]


class SlackSettings(BaseSettings):
    """The incoming webhooks of Slack channels, by the names that steps say, and how long to wait for Slack."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_SLACK_", env_nested_delimiter="__", env_file=".env", extra="ignore", frozen=True,
        env_ignore_empty=True, hide_input_in_errors=True,
    )  # fmt: skip

    to: dict[str, SlackChannel] = Field(
        default={},
        description="For each name …_TO__NAME__URL, the address of an incoming webhook: "
        "https://hooks.slack.com/services/…",
    )
    connections: int = Field(default=2, ge=1, le=64, description="Requests that are under way side by side.")
    connect_timeout: float = Field(default=10, gt=0, le=600, description="Seconds for reaching Slack.")
    timeout: float = Field(default=30, gt=0, le=600, description="Seconds for each wait once it is reached.")
