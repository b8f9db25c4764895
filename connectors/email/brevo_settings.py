"""Settings of the Brevo connector: `EVERGREET_BREVO_…`."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.addressing import can_be_sent, keeps_the_key


class BrevoSettings(BaseSettings):
    """Which Brevo account, and how long to wait for it."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_BREVO_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True,
        hide_input_in_errors=True,
    )  # fmt: skip

    api_key: Annotated[SecretStr, AfterValidator(can_be_sent)] = Field(
        description="Key of its API (xkeysib-…); sent over HTTPS only, unless the server is this machine."
    )
    webhook_token: SecretStr = Field(
        default=SecretStr(""), description="Bearer token that its webhooks show; or a name and a password, as follows."
    )
    webhook_user: Annotated[str, StringConstraints(pattern=r"^[!-9;-~]*$")] = Field(
        default="", description="Name in the URL of its webhooks (https://NAME:PASSWORD@…)."
    )
    webhook_password: SecretStr = Field(
        default=SecretStr(""), description="Password in the URL of its webhooks; without it or a token none is taken."
    )
    base_url: Annotated[str, AfterValidator(keeps_the_key)] = Field(
        default="https://api.brevo.com", description="Where its API is."
    )
    sandbox: bool = Field(default=False, description="Brevo checks what it gets and sends nothing to anybody.")
    window: int = Field(
        default=500, ge=1, le=1000, description="Messages whose intent is written together; so many may be in doubt."
    )
    connections: int = Field(default=2, ge=1, le=64, description="Requests that are under way side by side.")
    connect_timeout: float = Field(default=10, gt=0, le=600, description="Seconds for reaching the server.")
    timeout: float = Field(default=30, gt=0, le=600, description="Seconds for each wait once it is reached.")
    tags: tuple[Annotated[str, StringConstraints(min_length=1, max_length=255)], ...] = Field(
        default=(), max_length=10, description="JSON list of tags for Brevo's statistics."
    )
