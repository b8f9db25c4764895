"""Requests to HubSpot that change something, up to 100 records each."""

from typing import Any

import orjson

from connectors.calling import Answered, Caller
from connectors.crm.hubspot_answers import refused
from connectors.crm.hubspot_settings import HubSpotSettings
from connectors.crm.parts import Parts
from connectors.elapsed import Clock

MOST = 100
"""Records in a request: https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide."""


class Requests(Parts):
    """Those of one batch."""

    def __init__(self, caller: Caller, settings: HubSpotSettings, clock: Clock) -> None:
        super().__init__("HubSpot", MOST, clock)
        self.caller = caller
        self.settings = settings

    def change(self, path: str, content: Any, method: str = "POST") -> Answered:
        """Change something; raises a typed error where nothing was done, or may have been."""
        answered = self.caller.call(method, path, orjson.dumps(content))
        if not isinstance(answered, Answered):
            raise answered
        if answered.status not in {200, 201, 204, 207}:
            raise refused(answered, self.caller.key)
        return answered
