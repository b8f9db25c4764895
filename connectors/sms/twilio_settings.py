"""Settings of the Twilio connector: `EVERGREET_TWILIO_…`."""

from typing import Annotated, Self

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.addressing import can_be_sent, keeps_the_key


class TwilioSettings(BaseSettings):
    """Which Twilio account, whom messages come from, and how long to wait for it."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_TWILIO_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True,
        hide_input_in_errors=True, populate_by_name=True,
    )  # fmt: skip

    account_sid: str = Field(pattern=r"^AC[0-9a-fA-F]{32}$", description="SID of the account (AC…).")
    auth_token: SecretStr = Field(
        default=SecretStr(""),
        description="The account's auth token: it verifies webhooks, and signs in where there is no API key.",
    )
    key_sid: str = Field(default="", pattern=r"^(SK[0-9a-fA-F]{32})?$", description="SID of an API key (SK…).")
    key_secret: SecretStr = Field(default=SecretStr(""), description="The secret of that key.")
    sender: str = Field(
        default="", max_length=20, description="Number (+15557122661), short code or name that messages come from; or …"
    )
    messaging_service_sid: str = Field(
        default="", pattern=r"^(MG[0-9a-fA-F]{32})?$", description="… SID of the messaging service that chooses one."
    )
    public_url: str = Field(
        default="", validation_alias=AliasChoices("EVERGREET_TWILIO_PUBLIC_URL", "EVERGREET_PUBLIC_URL"),
        pattern=r"^(https?://[^\s/@?#]+(/[^\s?#]*)?)?$",
        description="Where Twilio reaches `evergreet serve`; empty: EVERGREET_PUBLIC_URL, without which it cannot.",
    )  # fmt: skip
    base_url: Annotated[str, AfterValidator(keeps_the_key)] = Field(
        default="https://api.twilio.com", description="Where its API is; https://api.dublin.ie1.twilio.com for Ireland."
    )
    window: int = Field(
        default=10, ge=1, le=100, description="Messages whose intent is written together; each is a request of its own."
    )
    connections: int = Field(default=4, ge=1, le=64, description="Requests that are under way side by side.")
    connect_timeout: float = Field(default=10, gt=0, le=600, description="Seconds for reaching the server.")
    timeout: float = Field(default=30, gt=0, le=600, description="Seconds for each wait once it is reached.")

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if bool(self.key_sid) != bool(self.key_secret.get_secret_value()):
            raise ValueError("an API key has a SID and a secret: set KEY_SID and KEY_SECRET, or neither")
        if not (self.key_sid or self.auth_token.get_secret_value()):
            raise ValueError("set AUTH_TOKEN, or KEY_SID and KEY_SECRET")
        if bool(self.sender) == bool(self.messaging_service_sid):
            raise ValueError("set SENDER or MESSAGING_SERVICE_SID, and not both")
        can_be_sent(self.password)
        return self

    @property
    def user(self) -> str:
        """Whom to sign in as."""
        return self.key_sid or self.account_sid

    @property
    def password(self) -> SecretStr:
        """What to sign in with."""
        return self.key_secret if self.key_sid else self.auth_token

    @property
    def webhook(self) -> str:
        """Where Twilio tells of messages; empty where it cannot."""
        return f"{self.public_url.rstrip('/')}/webhooks/twilio" if self.public_url else ""
