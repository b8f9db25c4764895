"""Settings of the Shopify connector: `EVERGREET_SHOPIFY_…`."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.events.secrets import are_secrets


class ShopifySettings(BaseSettings):
    """What Shopify signs with, and what its consent to email marketing is about."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_SHOPIFY_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True,
        hide_input_in_errors=True,
    )  # fmt: skip

    webhook_secret: Annotated[SecretStr, AfterValidator(are_secrets)] = Field(
        description="Client secret of the app, or the key under Settings → Notifications; several with commas."
    )
    consent_topic: str = Field(
        default="", max_length=100, description="Topic that consent to email marketing is about; empty: none is kept."
    )
    consent_wording: str = Field(
        default="", max_length=2000, description="What stands beside the box in the shop, to be kept with the consent."
    )
