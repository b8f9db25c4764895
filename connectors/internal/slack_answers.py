"""What Slack's answer to an incoming webhook means: its words as tables.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors and
https://docs.slack.dev/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks.
"""

from collections.abc import Mapping

from connectors.answers import pause
from connectors.calling import Answered, said
from evergreet.contracts import Accepted, Outcome
from evergreet.errors import Misconfigured, Permanent, Retryable

TAKEN = "ok"

REFUSED = frozenset(
    {
        "invalid_blocks", "invalid_blocks_format", "invalid_payload", "missing_text_or_fallback_or_attachments",
        "msg_too_long", "no_text", "too_many_attachments",
    }
)  # fmt: skip
"""About the note itself: others may go."""

OURS: Mapping[str, str] = {
    "action_prohibited": "An administrator of the workspace does not allow it.",
    "channel_is_archived": "The channel is archived: make a webhook for another one.",
    "channel_not_found": "The channel is gone: make a webhook for another one.",
    "invalid_token": "The webhook is not valid any more: make a new one.",
    "no_active_hooks": "The webhook was switched off.",
    "no_service": "The webhook was switched off or removed: make a new one.",
    "no_service_id": "Copy all of the webhook's address.",
    "no_team": "The workspace is gone, or the address of the webhook is not whole.",
    "posting_to_general_channel_denied": "An administrator does not allow notes in that channel.",
    "team_disabled": "The workspace is not active.",
    "user_not_found": "Whom the webhook wrote to is gone: make a new one.",
}
"""It stands for every note to that channel, with what to do."""

LATER = frozenset({"rate_limited", "ratelimited"})
"""More than about one a second: not taken."""


def understand(answered: Answered, where: str, secret: str) -> Outcome:
    """Return what became of a note for the channel called `where`."""
    status, word = answered.status, answered.content.decode("utf-8", "replace").strip()
    if status == 200 and word == TAKEN:
        return Accepted("")
    words = f"Slack answers {status} for {where}: {said(word, secret) or 'without a reason'}"
    if status == 429 or word in LATER:
        return Retryable(words, accepted="no", retry_after=pause(answered.headers, "retry-after"))
    if word in OURS or status in {401, 403, 404, 410} or 300 <= status < 400:
        return Misconfigured(f"{words}. {OURS.get(word, 'Is the address of the webhook right?')}")
    if word in REFUSED or (400 <= status < 500 and status != 408):
        return Permanent(words)
    if status == 408:
        return Retryable(words, accepted="no")
    return Retryable(f"{words}; it may have taken the note.", accepted="maybe")
