"""Settings of the Stripe connector: `EVERGREET_STRIPE_…`."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.events.secrets import are_secrets


class StripeSettings(BaseSettings):
    """What Stripe signs with, and what its checkout's box for promotions is about."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_STRIPE_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True,
        hide_input_in_errors=True,
    )  # fmt: skip

    webhook_secret: Annotated[SecretStr, AfterValidator(are_secrets)] = Field(
        description="Signing secret of the webhook endpoint (whsec_…); while it is changed both, with a comma."
    )
    consent_topic: str = Field(
        default="",
        max_length=100,
        description="Topic that consent to promotions at the checkout is about; empty: none.",
    )
    consent_wording: str = Field(
        default="", max_length=2000, description="What stands beside that box, to be kept with the consent."
    )
