"""Subscriptions to email in HubSpot: one request each.

https://developers.hubspot.com/docs/api-reference/communication-preferences-subscriptions-v3/guide. This version of it
has no word for everything: who unsubscribes from all is unsubscribed from each type there is.
"""

from urllib.parse import quote

from connectors.crm.hubspot_answers import asked
from connectors.crm.hubspot_requests import Requests
from connectors.json_bodies import text_in
from evergreet.contracts import Accepted, CrmConsent, Outcome
from evergreet.errors import Permanent, Retryable

PATH = "/communication-preferences/v3"


def subscribe(requests: Requests, email: str, consent: CrmConsent) -> Outcome:
    """Tell HubSpot what somebody said to a topic or, without one, to everything."""
    settings, topic = requests.settings, consent.topic
    if not topic and consent.granted:
        return Permanent("HubSpot takes no yes to everything: only that to a topic can be written.")
    if topic and topic not in settings.subscriptions:
        return Permanent(f"EVERGREET_HUBSPOT_SUBSCRIPTIONS does not say what the topic {topic} is there.")

    def tell() -> Outcome:
        types = [settings.subscriptions[topic]] if topic else _all_types(requests)
        for number in types:
            _tell(requests, email, number, granted=consent.granted)
        return Accepted(",".join(types))

    return requests.alone(tell)


def _tell(requests: Requests, email: str, number: str, *, granted: bool) -> None:
    """Tell of one subscription. One that is so already is refused, and is no failure."""
    settings = requests.settings
    content = {"emailAddress": email, "subscriptionId": number}
    if granted and settings.legal_basis:
        content |= {
            "legalBasis": settings.legal_basis,
            "legalBasisExplanation": settings.legal_basis_explanation or "Given to us, and kept with its wording.",
        }
    try:
        requests.change(f"{PATH}/{'subscribe' if granted else 'unsubscribe'}", content)
    except Permanent:
        found, _ = asked(requests.caller, "GET", f"{PATH}/status/email/{quote(email, safe='')}")
        listed = found.get("subscriptionStatuses")
        known = {
            text_in(raw, "id"): text_in(raw, "status")
            for raw in (listed if isinstance(listed, list) else ()) if isinstance(raw, dict)
        }  # fmt: skip
        if known.get(number) != ("SUBSCRIBED" if granted else "NOT_SUBSCRIBED"):
            raise


def _all_types(requests: Requests) -> list[str]:
    content, _ = asked(requests.caller, "GET", f"{PATH}/definitions")
    listed = content.get("subscriptionDefinitions")
    types = [
        text_in(kind, "id")
        for kind in (listed if isinstance(listed, list) else ())
        if isinstance(kind, dict) and kind.get("isActive") is not False
    ]
    if not all(types) or not types:
        raise Retryable("HubSpot's list of subscription types cannot be read.")
    return types
