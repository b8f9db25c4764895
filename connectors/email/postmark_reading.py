"""What Postmark says when it is asked: of its server, of a message stream, of a message it may have.

https://postmarkapp.com/developer/api/server-api, `…/message-streams-api` and `…/messages-api`.
"""

from typing import Any

from connectors.answers import object_answered
from connectors.calling import Answered, said
from connectors.email.postmark_answers import refusal
from connectors.email.postmark_payload import KEY
from connectors.json_bodies import object_in, text_in
from evergreet.errors import Misconfigured


def about_server(answered: Answered, secret: str) -> str:
    """Say which server a token is for; raises the typed error of any other answer."""
    if answered.status != 200:
        raise refusal(answered, secret)
    server = object_answered(answered.content)
    kind = text_in(server, "DeliveryType")
    if not text_in(server, "Name") or not isinstance(server.get("TrackOpens"), bool):
        raise Misconfigured("What answers there is not Postmark. Is EVERGREET_POSTMARK_BASE_URL right?")
    sandbox = kind.lower() == "sandbox"
    found = f"the token is for the {'sandbox' if sandbox else 'live'} server {said(text_in(server, 'Name'), secret)!r}"
    found += ", so nobody gets any mail" if sandbox else ""
    tracked = [what for what, on in (("openings", server["TrackOpens"]), ("links", _tracks_links(server))) if on]
    return found + (f"; it tracks {' and '.join(tracked)} whatever a mail says" if tracked else "")


def _tracks_links(server: Any) -> bool:
    return text_in(server, "TrackLinks").lower() not in {"", "none"}


def about_stream(answered: Answered, name: str, kind: str, setting: str, secret: str) -> str:
    """Say what is to be known of a stream that should be of a kind; raises the typed error where it cannot be used."""
    if answered.status in {404, 422}:
        raise Misconfigured(f"The server has no message stream {name!r}: correct {setting}.")
    if answered.status != 200:
        raise refusal(answered, secret)
    stream = object_answered(answered.content)
    found, handling = text_in(stream, "MessageStreamType"), object_in(stream, "SubscriptionManagementConfiguration")
    if text_in(stream, "ArchivedAt") or found.lower() == "inbound":
        raise Misconfigured(f"The message stream {name!r} is archived, or for incoming mail: correct {setting}.")
    if found.lower() != kind.lower():
        return f"its stream {name!r} is of the type {said(found, secret)}, not {kind}"
    if text_in(handling, "UnsubscribeHandlingType").lower() == "postmark":
        return f"Postmark adds unsubscribe links of its own to mails of {name!r}; its support can switch that off"
    return ""


def found_message(content: bytes, key: str) -> str:
    """Return Postmark's name for the message that carries this key, empty where it lists none.

    The metadata that comes back is compared: a filter that was not understood would list any message.
    """
    listed = object_answered(content).get("Messages")
    for message in listed if isinstance(listed, list) else []:
        if isinstance(message, dict) and text_in(object_in(message, "Metadata"), KEY) == key:
            return text_in(message, "MessageID")
    return ""
