"""Opening a CRM by its connector's name, with what the settings say of it."""

from evergreet.contracts import CrmSink, CrmSource
from evergreet.crm.storing import Rules
from evergreet.errors import ConfigurationError
from evergreet.lifecycle import lifecycle
from evergreet.registry import connector_entries, open_connector
from evergreet.settings import settings


def open_source(name: str) -> CrmSource:
    """Build the connector of a CRM whose contacts can be read."""
    connector = open_connector(name)
    if not isinstance(connector, CrmSource):
        connector.close()
        raise ConfigurationError(f"The connector {name!r} has no contacts that can be read: it is no CRM.")
    return connector


def open_sink(name: str) -> CrmSink:
    """Build the connector of a CRM that is written back to."""
    connector = open_connector(name)
    if not isinstance(connector, CrmSink):
        connector.close()
        raise ConfigurationError(f"The connector {name!r} cannot be written back to.")
    return connector


def rules_of(name: str) -> Rules:
    """Return what the settings say of a CRM."""
    if (moving := settings().crm_stages) is not None and moving not in connector_entries():
        raise ConfigurationError(
            f"EVERGREET_CRM_STAGES: there is no connector {moving!r}, so no stage would ever move."
        )
    known = frozenset(stage.name for stage in lifecycle(settings().lifecycle).stages)
    return Rules(known, move=moving == name, ids=settings().crm_ids)
