"""All settings of the engine in one place: environment variables with the prefix EVERGREET_, or `.env`.

A connector's own settings stand beside the connector.
"""

import json
import os
import re
import secrets
from datetime import time
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from evergreet.errors import ConfigurationError, no_json, wrong_setting
from evergreet.rates import read_rates
from evergreet.routing import read_route

SHORTEST_KEY = 16
"""Characters of a write key."""

LONGEST_CAP_DAYS = 3650
"""Days that a cap may look back."""

THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
"""Where somebody tries things out without a certificate."""


def _at_least_one(messages: int) -> int:
    if messages < 1:
        raise ValueError(
            "a cap lets 1 message through or more; leave it out for no cap, and pause campaigns to send none"
        )
    return messages


Places = Annotated[int, AfterValidator(_at_least_one)]
"""How many messages a cap lets through."""


class Cap(BaseModel):
    """At most so many messages within so many days, counted back from now."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: Places
    days: int = Field(ge=1, le=LONGEST_CAP_DAYS)


class Milestone(BaseModel):
    """One step of the onboarding checklist: the event that says it is done, and how to get there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: str = Field(min_length=1)
    title: str = Field(min_length=1)
    text: str = ""
    path: str = Field(default="/", pattern=r"^/([^/\s]\S*)?$")


class Settings(BaseSettings):
    """The engine's settings, checked when they are read."""

    model_config = SettingsConfigDict(
        env_prefix="EVERGREET_",
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    database_url: SecretStr = Field(
        default=SecretStr("sqlite:///.evergreet/evergreet.db"),
        description="SQLite file (embedded default) or postgresql://user:password@host/name.",
    )
    data_dir: Path = Field(
        default=Path(".evergreet"),
        description="Folder of the signing key, previews and Prefect's own files; database and outbox have settings.",
    )
    campaigns: str = Field(default="flows", description="Package that holds the campaigns.")
    templates: str = Field(default="templates", description="Package or folder that holds the message templates.")
    lifecycle: str = Field(
        default="experience",
        description="The lifecycle: discovery, experience, loyalty, reach or retention, or package.module:variable for "
        "one of your own.",
    )
    email: str = Field(
        default="outbox",
        description="Name of the connector that sends email. Several in order, as in `sendgrid, ses`: the others stand "
        "by for what the first does not take. With weights, as in `sendgrid 80, ses 20`, they share the messages.",
    )
    sms: str | None = Field(
        default=None,
        description="Name of the connector that sends SMS, or several as for email; empty: none does.",
    )
    crm: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names of the CRMs (connectors) whose contacts are read, with commas between them; empty: none.",
    )
    crm_write: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names of the CRMs that are written back to: stages, last messages, what people agreed to.",
    )
    crm_ids: dict[str, str] = Field(
        default={},
        description="Fields of CRMs that are the id of a contact in a source of ours, JSON: "
        '{"shop_customer_id": "shop"}.',
    )
    crm_stages: str | None = Field(
        default=None,
        description="Name of the CRM whose stages move contacts in the lifecycle; empty: where somebody is, is decided "
        "here, and what a CRM calls it is the attribute NAME_stage.",
    )
    webhook: str | None = Field(default=None, description="Name of the connector that posts webhooks: webhook.")
    slack: str | None = Field(default=None, description="Name of the connector that writes notes into Slack: slack.")
    crm_tasks: str | None = Field(
        default=None, pattern=r"^[^\s,]+$",
        description="Name of the connector of the CRM that gets tasks and notes of campaigns; empty: none does.",
    )  # fmt: skip
    company: str = Field(default="Fernway Supply", description="The name customers know you by.")
    sender: str = Field(default="Fernway Supply <hello@fernway.example>", description="From: of every email.")
    reply_to: str | None = Field(default=None, description="Reply-To:, when it differs from the sender.")
    postal_address: str = Field(
        default="Fernway Supply, 14 Mill Lane, Bristol BS1 4DJ, United Kingdom",
        description="Postal address in the footer; the law of most countries asks for it.",
    )
    site_url: str = Field(default="https://www.fernway.example", description="Your shop or site; links point there.")
    public_url: str = Field(
        default="https://mail.fernway.example",
        description="Where `evergreet serve` is reached by customers (HTTPS): unsubscribe links point there.",
    )
    track_clicks: bool = Field(
        default=False,
        description="Lead the links of marketing emails over /c/… below the public URL, so that clicks are known.",
    )
    utm_domains: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Your domains, with commas between them: links of marketing emails to them and their subdomains "
        "get utm_source, utm_medium, utm_campaign and utm_content; empty: none do.",
    )
    utm_source: str = Field(default="evergreet", min_length=1, description="The utm_source of these links.")
    secret_keys: tuple[SecretStr, ...] = Field(
        default=(),
        description="JSON list of keys that sign links and hash erased addresses; the newest last, old ones stay. "
        "Empty: SQLite keeps a generated key in the data folder; PostgreSQL requires it.",
    )
    write_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="Keys of who may post events and people to /v1/…, with commas between them or as a JSON list, each "
        "of at least 16 characters. Empty: nobody may.",
    )
    ingest_source: str = Field(
        default="import", min_length=1, max_length=100,
        description="The source of what is posted to /v1/…: a userId is a contact's id in this source, as files are "
        "imported with --source.",
    )  # fmt: skip
    event_names: dict[str, str] = Field(
        default={},
        description="What events that are posted to /v1/… are called here, where it is not their name in snake_case, "
        'JSON: {"Order Completed": "order_placed"}.',
    )
    default_timezone: str = Field(default="UTC", description="IANA zone of contacts that have none.")
    default_locale: str = Field(default="en", description="Locale of contacts that have none.")
    quiet_from: time | None = Field(default=None, description="No marketing from this local time, e.g. 21:00 …")
    quiet_until: time | None = Field(
        default=None, validate_default=True, description="… until this local time, e.g. 08:00."
    )
    cap: Places | None = Field(
        default=None, description="At most so many marketing messages per contact over all campaigns …"
    )
    cap_days: int = Field(default=7, ge=1, le=LONGEST_CAP_DAYS, description="… within so many days.")
    topic_caps: dict[str, Cap] = Field(
        default={},
        description='Caps per topic, JSON: {"offers": {"messages": 1, "days": 14}}; beside the cap over all.',
    )
    holdout: float = Field(
        default=0, ge=0, le=50,
        description="Percentage of contacts, such as 5 or 0.5, who get no marketing at all, to measure lift.",
    )  # fmt: skip
    holdout_salt: str = Field(
        default="evergreet", description="Change it to choose the held-out contacts anew (of all holdouts)."
    )
    checklist: tuple[Milestone, ...] = Field(
        default=(
            Milestone(event="profile_completed", title="Complete your profile", path="/account",
                      text="Tell us your shoe size and what grows where you live, and we stop showing you the rest."),
            Milestone(event="product_added_to_wishlist", title="Start a wish list", path="/wishlist",
                      text="Keep what you like in one place; we tell you when it is back in stock."),
            Milestone(event="newsletter_subscribed", title="Choose what we write about", path="/preferences",
                      text="Camping, gardening or both, and how often."),
        ),
        description='Steps that onboarding leads to, JSON: [{"event": "profile_completed", "title": "…", '
        '"text": "…", "path": "/account"}, …].',
    )  # fmt: skip
    threads: int = Field(default=4, ge=1, le=64, description="Hand-overs that run side by side in one worker.")
    shard_size: int = Field(
        default=20_000, ge=0,
        description="A run of a campaign's deployment with more messages than this starts others that send beside it, "
        "one per so many; 0: never. PostgreSQL only.",
    )  # fmt: skip
    shards: int = Field(default=4, ge=1, le=64, description="At most so many runs send for one campaign together.")
    window: int | None = Field(
        default=None, ge=1, le=1000, description="Marketing messages per intent; empty: what the connector says."
    )
    hand_over_seconds: int = Field(
        default=60, ge=1, description="A window not handed over this long after its intent is given back unsent."
    )
    retries: int = Field(default=8, ge=0, description="How often a message that was not accepted is tried again.")
    retry_seconds: int = Field(default=60, ge=1, description="First pause before a new try; it doubles each time.")
    retry_max_seconds: int = Field(default=6 * 3600, ge=1, description="Longest pause before a new try.")
    breaker_failures: int = Field(
        default=5,
        ge=1,
        description="A provider is out after so many failed requests in a row, or when it asks for time …",
    )
    breaker_seconds: int = Field(
        default=30, ge=1, description="… and is asked again, with one message, after so long; each time it doubles …"
    )
    breaker_max_seconds: int = Field(default=900, ge=1, description="… up to this.")
    rates: str = Field(
        default="",
        description="How much providers may be given, as in `sendgrid: 100/s, 50000/day, warm-up 500 from 2026-12-01; "
        "ses: 14/s`. A warm-up allows so many messages on its first day and each day twice as many, up to the limit "
        "of a day. Days are those of EVERGREET_DEFAULT_TIMEZONE. Empty: as much as there is.",
    )
    owner_silence_seconds: int = Field(
        default=300, ge=1, description="PostgreSQL ends a worker's session that was silent for this long."
    )

    keep_runs_days: int = Field(
        default=90, ge=1, description="`evergreet maintain` removes runs that handed nothing over after so many days."
    )
    keep_payloads_days: int = Field(
        default=90, ge=1,
        description="`evergreet maintain` empties the payloads of providers' events after so many days.",
    )  # fmt: skip

    keep_posted_days: int = Field(
        default=90, ge=1,
        description="`evergreet maintain` removes what was posted about people who stayed unknown after so many days.",
    )  # fmt: skip

    bounces_imap_host: str | None = Field(
        default=None, pattern=r"^[^\s/@]+$",
        description="IMAP server with the mailbox of bounces, for `evergreet bounces --imap`.",
    )  # fmt: skip
    bounces_imap_port: int | None = Field(default=None, ge=1, le=65535, description="Empty: 993 (tls) or 143.")
    bounces_imap_security: Literal["tls", "starttls"] = Field(
        default="tls", description="Certificates are always verified; nothing is sent in plain text."
    )
    bounces_imap_ca_file: Path | None = Field(
        default=None, description="PEM file of authorities to trust in place of the system's."
    )
    bounces_imap_user: str | None = Field(default=None, pattern=r"^[!-~]+$", description="User of that mailbox.")
    bounces_imap_password: SecretStr | None = Field(default=None, description="Password of that user.")
    bounces_imap_folder: str = Field(
        default="INBOX", pattern=r"^[ !#-\[\]-~]+$", description="Folder that the bounces are in."
    )

    @field_validator("write_keys", "crm", "crm_write", "utm_domains", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if not value.lstrip().startswith("["):
            return tuple(key.strip() for key in value.split(",") if key.strip())
        try:
            return tuple(json.loads(value))
        except ValueError as error:
            raise ValueError("this begins like a JSON list and is none") from error

    @field_validator("utm_domains")
    @classmethod
    def _domains(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        for domain in domains:
            if not re.fullmatch(r"[\w-]+(\.[\w-]+)*\.?", domain):
                raise ValueError(f"{domain!r} is no domain; write it without https:// and path, as in fernway.example")
        return domains

    @field_validator("public_url", "site_url")
    @classmethod
    def _a_link(cls, value: str) -> str:
        found = re.fullmatch(r"(https?)://([^\s/@?#:]+|\[[^\s\]]+\])(:\d+)?(/[^\s?#]*)?", value)
        if found is None:
            raise ValueError("links begin with it: write https://, the name of the server, and a path at most")
        return value.rstrip("/")

    @field_validator("public_url")
    @classmethod
    def _safe(cls, value: str) -> str:
        if not value.startswith("https://") and urlsplit(value).hostname not in THIS_MACHINE:
            raise ValueError("mailbox providers unsubscribe people over https:// only (RFC 8058)")
        return value

    @field_validator("checklist")
    @classmethod
    def _each_once(cls, checklist: tuple[Milestone, ...]) -> tuple[Milestone, ...]:
        if not checklist:
            raise ValueError("it names no milestone; where nothing is to be reached, do not launch onboarding-nudges")
        events = [milestone.event for milestone in checklist]
        if doubled := sorted({event for event in events if events.count(event) > 1}):
            raise ValueError(f"the event {doubled[0]!r} stands twice, and the second of the two would never be open")
        return checklist

    @field_validator("write_keys")
    @classmethod
    def _long_enough(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < SHORTEST_KEY for key in keys):
            raise ValueError(f"a key has fewer than {SHORTEST_KEY} characters, and could be guessed")
        return keys

    @field_validator("email", "sms", "webhook", "slack")
    @classmethod
    def _a_route(cls, value: str | None) -> str | None:
        if value is not None:
            read_route(value)
        return value

    @field_validator("rates")
    @classmethod
    def _known_limits(cls, value: str) -> str:
        read_rates(value)
        return value

    @field_validator("quiet_from", "quiet_until")
    @classmethod
    def _on_the_wall(cls, value: time | None) -> time | None:
        if value is not None and value.tzinfo is not None:
            raise ValueError("this is the time where each contact lives, so write it without a zone, as in 21:00")
        return value

    @field_validator("quiet_until")
    @classmethod
    def _both_ends(cls, value: time | None, known: ValidationInfo) -> time | None:
        if (value is None) != (known.data.get("quiet_from") is None) and "quiet_from" in known.data:
            raise ValueError(
                "quiet hours have two ends: set EVERGREET_QUIET_FROM and EVERGREET_QUIET_UNTIL, or neither"
            )
        return value

    @field_validator("topic_caps")
    @classmethod
    def _topics(cls, caps: dict[str, Cap]) -> dict[str, Cap]:
        for topic in caps:
            if not topic or topic.endswith("/sms"):
                raise ValueError(f"{topic!r} is no topic; write the topic alone, its cap counts email and SMS together")
        return caps

    @field_validator("default_timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as unknown:
            raise ValueError(f"{value!r} is not an IANA time zone such as Europe/Berlin") from unknown
        return value

    @property
    def signing_keys(self) -> list[str]:
        """The keys, oldest first. The embedded default makes one on first use and keeps it beside its data."""
        if self.secret_keys:
            return [key.get_secret_value() for key in self.secret_keys]
        if not self.database_url.get_secret_value().startswith("sqlite"):
            raise ConfigurationError(
                "EVERGREET_SECRET_KEYS is not set. Unsubscribe links are signed with it and must work for years: "
                "set it to a JSON list with one long random string, e.g. "
                """["$(python -c 'import secrets; print(secrets.token_urlsafe(32))')"], and keep it."""
            )
        return [_kept_key(self.data_dir)]


def _kept_key(folder: Path) -> str:
    path = folder / "secret.key"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "x", encoding="ascii", opener=_private) as file:
            file.write(secrets.token_urlsafe(32))
    except FileExistsError:
        pass
    key = path.read_text(encoding="ascii").strip()
    if not key:
        raise ConfigurationError(
            f"{path} is empty. Restore it from your backup: links already sent are signed with it."
        )
    return key


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@cache
def settings() -> Settings:
    """Read the settings once; a wrong one is a sentence that names the variable."""
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            wrong_setting(f"EVERGREET_{'_'.join(str(part) for part in problem['loc']).upper()}", problem)
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(f"The settings cannot be used. {problems}.") from None
    except SettingsError as error:
        raise ConfigurationError(f"The settings cannot be used. {no_json('EVERGREET_', error)}.") from None
