"""What a connector author sees: small protocols by capability, frozen values in and out.

A connector implements the protocols it has and declares its `Capabilities` as data. It never retries on
its own, never caps, never reads a database or Prefect: the engine decides (DESIGN §6).
"""

from evergreet.contracts.connector import Capabilities, Connector
from evergreet.contracts.crm import (
    CrmConsent,
    CrmContact,
    CrmLastMessage,
    CrmListener,
    CrmNote,
    CrmPage,
    CrmRecord,
    CrmSink,
    CrmSource,
    CrmStage,
    CrmTask,
    Push,
)
from evergreet.contracts.customers import Agreement, Customer, CustomerEvent, EventSource, Wish
from evergreet.contracts.feedback import (
    Kind,
    ProviderEvent,
    ReportReader,
    Suppressed,
    SuppressionSource,
    Verdict,
    WebhookRequest,
    WebhookSource,
)
from evergreet.contracts.messages import EmailMessage, Mailbox, Skeleton, SlackNote, SmsMessage, Split, WebhookMessage
from evergreet.contracts.running import RateLimiter, Reporter
from evergreet.contracts.sending import (
    Accepted,
    EmailSender,
    Finder,
    Found,
    HasDestinations,
    Outcome,
    RepeatableSender,
    Request,
    Sender,
    SlackSender,
    SmsSender,
    WebhookSender,
)

__all__ = [
    "Accepted",
    "Agreement",
    "Capabilities",
    "Connector",
    "CrmConsent",
    "CrmContact",
    "CrmLastMessage",
    "CrmListener",
    "CrmNote",
    "CrmPage",
    "CrmRecord",
    "CrmSink",
    "CrmSource",
    "CrmStage",
    "CrmTask",
    "Customer",
    "CustomerEvent",
    "EmailMessage",
    "EmailSender",
    "EventSource",
    "Finder",
    "Found",
    "HasDestinations",
    "Kind",
    "Mailbox",
    "Outcome",
    "ProviderEvent",
    "Push",
    "RateLimiter",
    "RepeatableSender",
    "ReportReader",
    "Reporter",
    "Request",
    "Sender",
    "Skeleton",
    "SlackNote",
    "SlackSender",
    "SmsMessage",
    "SmsSender",
    "Split",
    "Suppressed",
    "SuppressionSource",
    "Verdict",
    "WebhookMessage",
    "WebhookRequest",
    "WebhookSender",
    "WebhookSource",
    "Wish",
]
