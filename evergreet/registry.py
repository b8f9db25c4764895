"""Finding what others wrote: connectors by entry point, campaigns by walking a package."""

import pkgutil
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from evergreet.campaign import Campaign, Options
from evergreet.contracts import Connector
from evergreet.errors import ConfigurationError, DefinitionError, Misconfigured
from evergreet.life_stages import in_lifecycle
from evergreet.lifecycle import lifecycle
from evergreet.loading import load
from evergreet.settings import settings

CONNECTORS = "evergreet.connectors"


def connector_entries() -> dict[str, EntryPoint]:
    """Return the installed connectors by name, ours and strangers' alike, without importing them."""
    return {entry.name: entry for entry in sorted(entry_points(group=CONNECTORS), key=lambda entry: entry.name)}


def connector_class(name: str) -> type[Connector]:
    """Import a connector's class."""
    entries = connector_entries()
    if name not in entries:
        raise ConfigurationError(f"There is no connector {name!r}; installed are: {', '.join(entries) or 'none'}.")
    try:
        found = entries[name].load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"The connector {name!r} ({entries[name].value}) cannot be imported: {error}"
        ) from error
    if not (isinstance(found, type) and hasattr(found, "from_environment") and hasattr(found, "capabilities")):
        raise ConfigurationError(f"The connector {name!r} ({entries[name].value}) is not a connector class.")
    return found


def open_connector(name: str) -> Connector:
    """Build a connector from its own settings."""
    try:
        return connector_class(name).from_environment()
    except Misconfigured as error:
        raise ConfigurationError(f"Connector {name}: {error.reason}") from None


@dataclass(frozen=True, slots=True)
class CampaignModule:
    """A campaign with the module it stands in, the options it takes and its flow."""

    campaign: Campaign
    options: type[Options]
    module: ModuleType
    flow: Any


def find_campaigns(package: str) -> dict[str, CampaignModule]:
    """Import the modules of the package (files beginning with `_` are operational flows) and collect campaigns.

    The stages they name are those of the lifecycle in use.
    """
    stages = lifecycle(settings().lifecycle)
    try:
        root = load(package)
    except ModuleNotFoundError as error:
        if error.name and package.startswith(error.name):
            raise ConfigurationError(
                f"EVERGREET_CAMPAIGNS={package}: there is no such package; install it, or run in its folder."
            ) from None
        raise
    if not hasattr(root, "__path__"):
        raise ConfigurationError(
            f"EVERGREET_CAMPAIGNS={package}: this is one file; name the package (a folder with __init__.py) it is in."
        )
    found: dict[str, CampaignModule] = {}
    for info in pkgutil.iter_modules(root.__path__, prefix=f"{package}."):
        if info.name.rpartition(".")[2].startswith("_"):
            continue
        module = load(info.name)
        campaign = getattr(module, "campaign", None)
        if not isinstance(campaign, Campaign):
            raise DefinitionError(
                f"{module.__file__}: a campaign file has a variable `campaign = Campaign(…)`; this one has none."
            )
        if campaign.name in found:
            taken = found[campaign.name].module.__file__
            raise DefinitionError(
                f"{module.__file__}: the name {campaign.name!r} is taken by {taken}; names are unique."
            )
        flow_name = campaign.name.replace("-", "_")
        flow = getattr(module, flow_name, None)
        if flow is None:
            raise DefinitionError(
                f"{module.__file__}: the flow of campaign {campaign.name!r} must be called {flow_name}."
            )
        options = getattr(module, "Options", Options)
        found[campaign.name] = CampaignModule(in_lifecycle(campaign, stages), options, module, flow)
    return found


def find_campaign(package: str, name: str) -> CampaignModule:
    """Return one campaign; a wrong name is answered with the names there are."""
    campaigns = find_campaigns(package)
    if name not in campaigns:
        raise ConfigurationError(
            f"There is no campaign {name!r}; {package} has: {', '.join(sorted(campaigns)) or 'none'}."
        )
    return campaigns[name]
