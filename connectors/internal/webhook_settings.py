"""Settings of the webhook connector: `EVERGREET_WEBHOOK_…`."""

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.internal.addresses import may_be_posted_to, place_of
from connectors.standard_webhooks import read_key


class WebhookDestination(BaseModel):
    """Where a webhook is, and what signs what is posted there."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[SecretStr, AfterValidator(may_be_posted_to)]
    secret: SecretStr
    private: bool = False

    @model_validator(mode="after")
    def _can_sign(self) -> Self:
        if not self.keys:
            raise ValueError("the secret is empty: whsec_ and 24 to 64 octets in base64")
        if place_of(self.url).server.startswith("http:") and not self.private:
            raise ValueError("http:// is for a receiver on this machine: set …__PRIVATE=true, or write https://")
        return self

    @property
    def keys(self) -> list[bytes]:
        """The keys; what is posted is signed with each, so that a receiver may change from one to the next."""
        return [read_key(secret) for secret in self.secret.get_secret_value().split()]


class WebhookSettings(BaseSettings):
    """Where webhooks are, by the names that steps say, and how long to wait for them."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_WEBHOOK_", env_nested_delimiter="__", env_file=".env", extra="ignore", frozen=True,
        env_ignore_empty=True, hide_input_in_errors=True,
    )  # fmt: skip

    to: dict[str, WebhookDestination] = Field(
        default={},
        description="For each name: …_TO__NAME__URL, …_TO__NAME__SECRET (whsec_…, several with spaces between them) "
        "and, for one in a network of your own, …_TO__NAME__PRIVATE=true.",
    )
    connections: int = Field(default=4, ge=1, le=64, description="Requests that are under way side by side.")
    connect_timeout: float = Field(default=10, gt=0, le=600, description="Seconds for reaching a receiver.")
    timeout: float = Field(default=20, gt=0, le=600, description="Seconds for each wait once it is reached.")
