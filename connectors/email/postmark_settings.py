"""Settings of the Postmark connector: `EVERGREET_POSTMARK_…`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.addressing import can_be_sent, keeps_the_key

Stream = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,60}$")]


class PostmarkSettings(BaseSettings):
    """Which Postmark server, which of its streams, and how long to wait for it."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_POSTMARK_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True,
        hide_input_in_errors=True,
    )  # fmt: skip

    server_token: Annotated[SecretStr, AfterValidator(can_be_sent)] = Field(
        description="Token of one server; sent over HTTPS only, unless the server is this machine."
    )
    transactional_stream: Stream = Field(
        default="outbound", description="Message stream of mails that nobody can unsubscribe from, such as receipts."
    )
    broadcast_stream: Stream = Field(
        default="broadcast", description="Message stream of mails with a topic or a List-Unsubscribe header."
    )
    webhook_user: Annotated[str, StringConstraints(pattern=r"^[!-9;-~]*$")] = Field(
        default="", description="Name in the URL of its webhooks (https://NAME:PASSWORD@…); without it none is taken."
    )
    webhook_password: SecretStr = Field(default=SecretStr(""), description="Password in the URL of its webhooks.")
    base_url: Annotated[str, AfterValidator(keeps_the_key)] = Field(
        default="https://api.postmarkapp.com", description="Where its API is."
    )
    window: int = Field(
        default=500, ge=1, le=500, description="Messages whose intent is written together; so many may be in doubt."
    )
    connections: int = Field(default=2, ge=1, le=64, description="Requests that are under way side by side.")
    connect_timeout: float = Field(default=10, gt=0, le=600, description="Seconds for reaching the server.")
    timeout: float = Field(default=60, gt=0, le=600, description="Seconds for each wait once it is reached.")
    open_tracking: bool = Field(default=False, description="Let Postmark add a picture that tells it of openings.")
    link_tracking: Literal["None", "HtmlAndText", "HtmlOnly", "TextOnly"] = Field(
        default="None", description="In which parts Postmark leads links through its own server."
    )
    tag: str = Field(default="", max_length=1000, description="Tag of all mails in Postmark's statistics.")
