"""Settings of the Amazon SES connector: `EVERGREET_SES_…`."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.addressing import can_be_sent, keeps_the_key


def _can_be_sent(key: SecretStr) -> SecretStr:
    return can_be_sent(key) if key.get_secret_value() else key


def _keeps_the_key(url: str) -> str:
    return keeps_the_key(url) if url else url


class SesSettings(BaseSettings):
    """Which AWS account and region, what goes along with the mails, and how long to wait for an answer."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_SES_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True,
        hide_input_in_errors=True,
    )  # fmt: skip

    region: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,4}(-[a-z]+)+-\d{1,2}$")] = Field(
        description="Region in which the sender is verified, as in eu-central-1."
    )
    access_key_id: Annotated[SecretStr, AfterValidator(_can_be_sent)] = Field(
        default=SecretStr(""),
        description="Key of an IAM user who may do ses:SendRawEmail; without it what the AWS tools find: environment, "
        "profile, role of the machine.",
    )
    secret_access_key: Annotated[SecretStr, AfterValidator(_can_be_sent)] = Field(
        default=SecretStr(""), description="The secret that belongs to the key; it signs, and is never sent."
    )
    session_token: Annotated[SecretStr, AfterValidator(_can_be_sent)] = Field(
        default=SecretStr(""), description="Only with a temporary key."
    )
    configuration_set: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = Field(
        default="", description="Configuration set whose event destination tells the webhook what became of messages."
    )
    topic_arn: Annotated[
        str, StringConstraints(pattern=r"^(arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]+)?$")
    ] = Field(default="", description="SNS topic of that event destination; without it no event is taken.")
    bulk: bool = Field(
        default=False,
        description="Send messages of one template in requests of up to 50 where their content is the same either way; "
        "needs ses:SendBulkEmail.",
    )
    base_url: Annotated[str, AfterValidator(_keeps_the_key)] = Field(
        default="", description="Another address of the API, such as a VPC endpoint; empty: that of the region."
    )
    window: int = Field(
        default=50, ge=1, le=1000, description="Messages whose intent is written together; so many may be in doubt."
    )
    connections: int = Field(default=4, ge=1, le=64, description="Requests that are under way side by side.")
    connect_timeout: float = Field(default=10, gt=0, le=600, description="Seconds for reaching the server.")
    timeout: float = Field(default=30, gt=0, le=600, description="Seconds for each wait once it is reached.")
    batch_seconds: float = Field(
        default=60, gt=0, le=3600, description="A request of a batch that was not begun after this long is given back."
    )

    @model_validator(mode="after")
    def _key_and_secret_come_together(self) -> Self:
        if bool(self.access_key_id.get_secret_value()) != bool(self.secret_access_key.get_secret_value()):
            raise ValueError("ACCESS_KEY_ID and SECRET_ACCESS_KEY come together, or neither")
        return self

    @property
    def url(self) -> str:
        """Where the API is (https://docs.aws.amazon.com/general/latest/gr/ses.html)."""
        ends = {"cn": "com.cn", "eusc": "eu"}.get(self.region.partition("-")[0], "com")
        return self.base_url or f"https://email.{self.region}.amazonaws.{ends}"
