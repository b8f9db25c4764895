"""Settings of the Salesforce connector: `EVERGREET_SALESFORCE_…`."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.addressing import keeps_the_key

FIELDS = {"FirstName": "first_name", "LastName": "last_name", "Phone": "phone"}
"""Salesforce's fields of a contact that are read, and what they are called here."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]\w*$", max_length=80)]
"""A field: it stands in queries as it is."""
Way = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]\w*(\.[A-Za-z]\w*){0,4}$", max_length=200)]
"""A field, also of what a contact belongs to: `Account.Name`."""


class SalesforceSettings(BaseSettings):
    """Which Salesforce org, what of its contacts is read and written, and how long to wait for it."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_SALESFORCE_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True,
        hide_input_in_errors=True,
    )  # fmt: skip

    base_url: Annotated[str, AfterValidator(keeps_the_key)] = Field(
        description="My Domain of the org, as in https://acme.my.salesforce.com."
    )
    client_id: str = Field(min_length=1, description="Consumer key of the connected app.")
    client_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Its consumer secret; sent over HTTPS only, unless the server is this machine.",
    )
    private_key: SecretStr = Field(
        default=SecretStr(""),
        description="Private RSA key (PEM, or its file) that signs in where there is no secret: the JWT bearer flow.",
    )
    username: str = Field(default="", max_length=200, description="User as whom the app signs in with a private key.")
    audience: Annotated[str, StringConstraints(pattern=r"^(https://[^\s/@]+(/[^\s@]*)?)?$")] = Field(
        default="",
        description="Who lets that user in; empty: https://login.salesforce.com, of a sandbox https://test.salesforce.com.",
    )
    api_version: str = Field(default="62.0", pattern=r"^\d{2,3}\.0$", description="Version of the REST API.")
    object: Literal["Contact", "Lead"] = Field(default="Contact", description="Contact or Lead: which are read.")
    fields: dict[Way, str] = Field(
        default=FIELDS, description="JSON: fields that are read, and what they are called here; instead of these."
    )
    stage_field: Name | Literal[""] = Field(
        default="Evergreet_Stage__c", description="Field (text) that a contact's stage is written to; empty: none."
    )
    last_message_field: Name | Literal[""] = Field(
        default="Evergreet_Last_Message__c", description="Field (text) for the last message; empty: none."
    )
    last_message_at_field: Name | Literal[""] = Field(
        default="Evergreet_Last_Message_At__c", description="Field (date/time) for when it was sent; empty: none."
    )
    topic_fields: dict[str, Name] = Field(
        default={},
        description='JSON: checkboxes for consent to our topics, {"news": "News__c"}; they are written only.',
    )
    key_field: Name | Literal[""] = Field(
        default="", description="Field of tasks (text, unique, external ID) for our key: each is then made once."
    )
    task_owner: str = Field(
        default="",
        pattern=r"^([a-zA-Z0-9]{15}|[a-zA-Z0-9]{18})?$",
        description="Id of the owner of tasks; empty: the app's.",
    )
    bulk: bool = Field(
        default=False, description="Everything, as at first, is read by a job of the Bulk API: for more than a million."
    )
    lag_seconds: int = Field(
        default=300, ge=0, le=86_400, description="Changes may become visible this late: so much is read again."
    )
    connections: int = Field(default=2, ge=1, le=64, description="Requests that are under way side by side.")
    connect_timeout: float = Field(default=10, gt=0, le=600, description="Seconds for reaching the server.")
    timeout: float = Field(default=60, gt=0, le=600, description="Seconds for each wait once it is reached.")

    @model_validator(mode="after")
    def _can_sign_in(self) -> Self:
        signs = bool(self.private_key.get_secret_value())
        if signs != bool(self.username):
            raise ValueError("a private key signs in as a user: set PRIVATE_KEY and USERNAME, or neither")
        if not (signs or self.client_secret.get_secret_value()):
            raise ValueError("set CLIENT_SECRET, or PRIVATE_KEY and USERNAME")
        return self
