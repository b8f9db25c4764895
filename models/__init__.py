"""The tables. Importing this package registers all of them on `Table.metadata`."""

from models.base import Instant, Table
from models.campaign import AuditLog, Broadcast, CampaignRow, CampaignVersion, ClockStretch, Stretch, TemplateVersion
from models.contact import Consent, Contact, FrequencyChoice, Suppression
from models.crm import CrmCursor, CrmMember, CrmRow
from models.event import Cursor, Event, IngestPosition, Transition
from models.ledger import Attempt, Chunk, Enrollment, Message, Run, StoredRequest, Tally, WorkerRow
from models.merge import ContactMerge
from models.posted import ContactAlias, PostedMessage
from models.provider import Breaker, ProviderDay
from models.provider_event import ProviderEvent

__all__ = [
    "Attempt",
    "AuditLog",
    "Breaker",
    "Broadcast",
    "CampaignRow",
    "CampaignVersion",
    "Chunk",
    "ClockStretch",
    "Consent",
    "Contact",
    "ContactAlias",
    "ContactMerge",
    "CrmCursor",
    "CrmMember",
    "CrmRow",
    "Cursor",
    "Enrollment",
    "Event",
    "FrequencyChoice",
    "IngestPosition",
    "Instant",
    "Message",
    "PostedMessage",
    "ProviderDay",
    "ProviderEvent",
    "Run",
    "StoredRequest",
    "Stretch",
    "Suppression",
    "Table",
    "Tally",
    "TemplateVersion",
    "Transition",
    "WorkerRow",
]
