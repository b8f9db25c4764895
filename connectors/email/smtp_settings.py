"""Settings of the SMTP connector: `EVERGREET_SMTP_…`."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.addressing import is_this_machine

_PORTS = {"starttls": 587, "tls": 465, "none": 25}


class SmtpSettings(BaseSettings):
    """Which server, how to sign in, and how long to wait for it."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_SMTP_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    host: str = Field(pattern=r"^[^\s/@]+$", description="Name of the server; its certificate must be for this name.")
    port: int | None = Field(default=None, ge=1, le=65535, description="Empty: 587 (starttls), 465 (tls) or 25 (none).")
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="Certificates are always verified; there is no falling back to plain text."
    )
    username: SecretStr | None = Field(default=None, description="Empty: no sign-in. At some providers it is a token.")
    password: SecretStr | None = Field(
        default=None, description="Sent over TLS only, unless the server is this machine."
    )
    ca_file: Path | None = Field(default=None, description="PEM file of authorities to trust in place of the system's.")
    timeout: float = Field(
        default=30, gt=0, le=600, description="Seconds for opening a connection, and for each answer."
    )
    batch_seconds: float = Field(
        default=60, gt=0, le=3600, description="A message of a batch that was not begun after this long is given back."
    )
    connections: int = Field(default=4, ge=1, le=64, description="Connections that are open side by side.")
    messages_per_connection: int = Field(
        default=100, ge=1, description="Then the connection is closed and a new one opened."
    )
    helo: str | None = Field(
        default=None, pattern=r"^[!-~]+$", description="Name to introduce ourselves with; empty: this machine's."
    )
    return_path: str | None = Field(
        default=None, max_length=254, pattern=r"^[!-;=?A-~]+@[A-Za-z0-9.-]+$",
        description="Envelope sender, which bounces go to; empty: the address of EVERGREET_SENDER.",
    )  # fmt: skip
    window: int = Field(default=50, ge=1, le=1000, description="Messages whose intent is written together.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("EVERGREET_SMTP_USERNAME and EVERGREET_SMTP_PASSWORD are set together or not at all")
        if self.password is not None and self.security == "none" and not is_this_machine(self.host):
            raise ValueError(
                "the password would travel in plain text: set EVERGREET_SMTP_SECURITY to starttls or tls, "
                "or remove EVERGREET_SMTP_USERNAME and EVERGREET_SMTP_PASSWORD"
            )
        return self

    @property
    def server(self) -> tuple[str, int]:
        """Host and port to connect to."""
        return self.host, self.port or _PORTS[self.security]

    @property
    def credentials(self) -> tuple[str, str] | None:
        """User name and password in the clear, where there are any."""
        if self.username is None or self.password is None:
            return None
        return self.username.get_secret_value(), self.password.get_secret_value()
