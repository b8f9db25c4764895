"""Settings of the SendGrid connector: `EVERGREET_SENDGRID_…`."""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict


def _can_be_sent(key: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]+", key.get_secret_value()):
        raise ValueError("a key is ASCII without spaces or line breaks")
    return key


def _keeps_the_key(url: str) -> str:
    """The key must not travel in plain text, except to this machine."""
    found = re.fullmatch(r"(https?)://(\[[^\]\s/@]+\]|[^\s/@:?#]+)(?::\d{1,5})?/?", url)
    if found is None:
        raise ValueError("write https:// and the name of the server, without a path")
    if found[1] == "http" and not _is_this_machine(found[2].strip("[]")):
        raise ValueError("the key would travel in plain text: write https://")
    return url.rstrip("/")


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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

    api_key: Annotated[SecretStr, AfterValidator(_can_be_sent)] = Field(
        description="Key with the permission Mail Send; sent over HTTPS only, unless the server is this machine."
    )
    verification_key: SecretStr = Field(
        default=SecretStr(""),
        description="The public key that SendGrid shows for its signed event webhook; without it no event is taken.",
    )
    base_url: Annotated[str, AfterValidator(_keeps_the_key)] = Field(
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
    categories: tuple[Annotated[str, StringConstraints(min_length=1, max_length=255)], ...] = Field(
        default=(), max_length=10, description="JSON list of categories for SendGrid's statistics."
    )
