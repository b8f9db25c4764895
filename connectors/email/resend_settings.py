"""Settings of the Resend connector: `EVERGREET_RESEND_…`."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.addressing import can_be_sent, keeps_the_key


class ResendSettings(BaseSettings):
    """Which Resend account, and how long to wait for it."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_RESEND_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True,
        hide_input_in_errors=True,
    )  # fmt: skip

    api_key: Annotated[SecretStr, AfterValidator(can_be_sent)] = Field(
        description="Key with sending access; sent over HTTPS only, unless the server is this machine."
    )
    webhook_secret: SecretStr = Field(
        default=SecretStr(""), description="What Resend signs its webhooks with (whsec_…); without it none is taken."
    )
    base_url: Annotated[str, AfterValidator(keeps_the_key)] = Field(
        default="https://api.resend.com", description="Where its API is."
    )
    window: int = Field(
        default=100, ge=1, le=1000, description="Messages whose intent is written together; so many may be in doubt."
    )
    connections: int = Field(default=2, ge=1, le=64, description="Requests that are under way side by side.")
    connect_timeout: float = Field(default=10, gt=0, le=600, description="Seconds for reaching the server.")
    timeout: float = Field(default=30, gt=0, le=600, description="Seconds for each wait once it is reached.")
