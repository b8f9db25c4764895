"""Settings of the SendGrid connector: `EVERGREET_SENDGRID_…`."""

from typing import Annotated

from pydantic import AfterValidator, Field, PositiveInt, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.addressing import can_be_sent, keeps_the_key


def _one_topic_each(groups: dict[str, int]) -> dict[str, int]:
    if len(set(groups.values())) < len(groups):
        raise ValueError("two topics have one group; who unsubscribes from it would be off which")
    return groups


def _each_once(categories: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(categories)) < len(categories):
        raise ValueError("a category is there twice, which SendGrid refuses")
    return categories


class SendGridSettings(BaseSettings):
    """Which SendGrid account, what it may do to the mails, and how long to wait for it."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_SENDGRID_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    api_key: Annotated[SecretStr, AfterValidator(can_be_sent)] = Field(
        description="Key with the permission Mail Send; sent over HTTPS only, unless the server is this machine."
    )
    verification_key: SecretStr = Field(
        default=SecretStr(""),
        description="The public key that SendGrid shows for its signed event webhook; without it no event is taken.",
    )
    base_url: Annotated[str, AfterValidator(keeps_the_key)] = Field(
        default="https://api.sendgrid.com", description="Subusers in the EU: https://api.eu.sendgrid.com."
    )
    sandbox: bool = Field(default=False, description="SendGrid checks what it gets and sends nothing to anybody.")
    window: int = Field(
        default=1000, ge=1, le=1000, description="Messages whose intent is written together; so many may be in doubt."
    )
    connections: int = Field(default=4, ge=1, le=64, description="Requests that are under way side by side.")
    connect_timeout: float = Field(default=10, gt=0, le=600, description="Seconds for reaching the server.")
    timeout: float = Field(default=30, gt=0, le=600, description="Seconds for each wait once it is reached.")
    batch_seconds: float = Field(
        default=60, gt=0, le=3600, description="A request of a batch that was not begun after this long is given back."
    )
    substitution_bytes: int = Field(
        default=10_000, ge=0, le=50_000, description="What differs per recipient, at most; larger messages go alone."
    )
    click_tracking: bool = Field(default=False, description="Let SendGrid lead every link through its own server.")
    open_tracking: bool = Field(default=False, description="Let SendGrid add a picture that tells it of openings.")
    categories: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[ -~]*$")], ...],
        AfterValidator(_each_once),
    ] = Field(default=(), max_length=10, description="JSON list of categories for SendGrid's statistics, in ASCII.")
    ip_pool: Annotated[str, StringConstraints(pattern=r"^(.{2,64})?$")] = Field(
        default="", description="Name of the pool of dedicated IP addresses that everything leaves from."
    )
    spread_seconds: int = Field(
        default=0, ge=0, le=3600, description="SendGrid holds each marketing message back for up to this long."
    )
    groups: Annotated[
        dict[Annotated[str, StringConstraints(min_length=1, max_length=100)], PositiveInt],
        AfterValidator(_one_topic_each),
    ] = Field(default={}, description='JSON object of topics and their unsubscribe groups, as {"news": 123}.')
