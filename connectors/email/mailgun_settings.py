"""Settings of the Mailgun connector: `EVERGREET_MAILGUN_…`."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.addressing import can_be_sent, keeps_the_key


class MailgunSettings(BaseSettings):
    """Which Mailgun domain, what it may do to the mails, and how long to wait for it."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_MAILGUN_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True,
        hide_input_in_errors=True,
    )  # fmt: skip

    api_key: Annotated[SecretStr, AfterValidator(can_be_sent)] = Field(
        description="Key of its API, or a sending key of the domain; sent over HTTPS only, unless to this machine."
    )
    domain: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")] = Field(
        description="The sending domain as Mailgun knows it, such as mg.example.com."
    )
    signing_key: SecretStr = Field(
        default=SecretStr(""), description="The HTTP webhook signing key; without it no event is taken."
    )
    base_url: Annotated[str, AfterValidator(keeps_the_key)] = Field(
        default="https://api.mailgun.net", description="Domains in the EU: https://api.eu.mailgun.net."
    )
    sandbox: bool = Field(default=False, description="Mailgun takes mails in test mode and sends them to nobody.")
    window: int = Field(
        default=500, ge=1, le=1000, description="Messages whose intent is written together; so many may be in doubt."
    )
    connections: int = Field(default=4, ge=1, le=64, description="Requests that are under way side by side.")
    connect_timeout: float = Field(default=10, gt=0, le=600, description="Seconds for reaching the server.")
    timeout: float = Field(default=30, gt=0, le=600, description="Seconds for each wait once it is reached.")
    batch_seconds: float = Field(
        default=60, gt=0, le=3600, description="A request of a batch that was not begun after this long is given back."
    )
    click_tracking: bool = Field(default=False, description="Let Mailgun lead every link through its own server.")
    open_tracking: bool = Field(default=False, description="Let Mailgun add a picture that tells it of openings.")
    tags: tuple[Annotated[str, StringConstraints(pattern=r"^[ -~]{1,128}$")], ...] = Field(
        default=(), max_length=10, description="JSON list of tags for Mailgun's statistics."
    )
