"""Settings of the HubSpot connector: `EVERGREET_HUBSPOT_…`."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.addressing import can_be_sent, keeps_the_key

PROPERTIES = {
    "firstname": "first_name",
    "lastname": "last_name",
    "phone": "phone",
    "hs_language": "locale",
    "hs_timezone": "timezone",
    "lifecyclestage": "stage",
}
"""HubSpot's properties of a contact that are read, and what they are called here."""

COLUMNS = ("email", "phone", "locale", "timezone", "stage", "created_at")
"""What is no attribute."""

Basis = Literal[
    "", "LEGITIMATE_INTEREST_PQL", "LEGITIMATE_INTEREST_CLIENT", "PERFORMANCE_OF_CONTRACT", "CONSENT_WITH_NOTICE",
    "NON_GDPR", "PROCESS_AND_STORE", "LEGITIMATE_INTEREST_OTHER",
]  # fmt: skip


class HubSpotSettings(BaseSettings):
    """Which HubSpot account, what of its contacts is read and written, and how long to wait for it."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_HUBSPOT_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True,
        hide_input_in_errors=True, populate_by_name=True,
    )  # fmt: skip

    token: Annotated[SecretStr, AfterValidator(can_be_sent)] = Field(
        description="Access token of a private app (pat-…); sent over HTTPS only, unless the server is this machine."
    )
    secret: SecretStr = Field(
        default=SecretStr(""),
        description="The app's client secret, which signs its webhooks; without it none is taken.",
    )
    public_url: str = Field(
        default="", validation_alias=AliasChoices("EVERGREET_HUBSPOT_PUBLIC_URL", "EVERGREET_PUBLIC_URL"),
        description="Where HubSpot reaches `evergreet serve`; empty: EVERGREET_PUBLIC_URL, without which it cannot.",
    )  # fmt: skip
    base_url: Annotated[str, AfterValidator(keeps_the_key)] = Field(
        default="https://api.hubapi.com", description="Where its API is; https://api-eu1.hubapi.com for the EU."
    )
    properties: dict[str, str] = Field(
        default=PROPERTIES,
        description="JSON: properties that are read, and what they are called here; instead of these.",
    )
    stage_property: str = Field(
        default="lifecyclestage", description="Property that a contact's stage is written to; empty: none."
    )
    stages: dict[str, str] = Field(
        default={}, description='JSON: what our stages are called there, {"education": "lead"}; others keep their name.'
    )
    last_message_property: str = Field(
        default="evergreet_last_message", description="Property (text) for the last message that was sent; empty: none."
    )
    last_message_at_property: str = Field(
        default="evergreet_last_message_at", description="Property (date and time) for when it was sent; empty: none."
    )
    subscriptions: dict[str, str] = Field(
        default={}, description='JSON: ids of the subscription types of our topics, {"news": "29801234"}.'
    )
    lists: dict[str, str] = Field(
        default={},
        description='JSON: ids of lists (segments), {"vip": "1234"}; each is an attribute, and steps put people there.',
    )
    legal_basis: Basis = Field(
        default="", description="Legal basis of subscriptions, needed where the account's data privacy is on."
    )
    legal_basis_explanation: str = Field(default="", max_length=2000, description="What that basis is, in a sentence.")
    task_owner: str = Field(default="", pattern=r"^\d*$", description="Id of the owner of new tasks; empty: nobody.")
    note_event: str = Field(
        default="", pattern=r"^(pe[0-9]+_[a-z0-9_]+)?$",
        description="Custom event (pe123_evergreet_note) that notes become, of an Enterprise edition; empty: a note.",
    )  # fmt: skip
    lag_seconds: int = Field(
        default=300, ge=0, le=86_400, description="Changes may be this late in HubSpot's search: so much is read again."
    )
    deletions_minutes: int = Field(
        default=60, ge=0, le=43_200, description="How often deleted contacts are asked for, at most."
    )
    lists_minutes: int = Field(default=60, ge=0, le=43_200, description="How often lists are read through, at most.")
    connections: int = Field(default=2, ge=1, le=64, description="Requests that are under way side by side.")
    connect_timeout: float = Field(default=10, gt=0, le=600, description="Seconds for reaching the server.")
    timeout: float = Field(default=30, gt=0, le=600, description="Seconds for each wait once it is reached.")

    @model_validator(mode="after")
    def _lists_can_be_told_apart(self) -> Self:
        for name, number in self.lists.items():
            if not re.fullmatch("[a-z][a-z0-9_]{0,39}", name) or name in {*COLUMNS, *self.properties.values()}:
                raise ValueError(
                    f"LISTS: {name!r} becomes an attribute: write a short name in small letters, digits and _ that no "
                    "property has"
                )
            if not re.fullmatch("[0-9]{1,20}", number):
                raise ValueError(f"LISTS: write the id of {name!r} as HubSpot shows it, a number")
        return self

    @property
    def webhook(self) -> str:
        """Where HubSpot tells of contacts; empty where it cannot."""
        return f"{self.public_url.rstrip('/')}/webhooks/hubspot" if self.public_url else ""
