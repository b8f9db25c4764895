"""Opening a CRM by its connector's name, with what the settings say of it."""

from evergreet.contracts import CrmSink, CrmSource
from evergreet.crm.storing import Stages
from evergreet.errors import ConfigurationError
from evergreet.lifecycle import lifecycle
from evergreet.registry import open_connector
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


def stages_of(name: str) -> Stages:
    """Return the stages of the lifecycle, and whether this CRM moves contacts between them."""
    known = frozenset(stage.name for stage in lifecycle(settings().lifecycle).stages)
    return Stages(known, move=settings().crm_stages == name)
