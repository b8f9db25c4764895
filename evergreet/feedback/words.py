"""What each kind of provider event means here, as tables."""

from evergreet.contracts import Kind

DELIVERIES = {
    Kind.ACCEPTED: "accepted",
    Kind.DEFERRED: "deferred",
    Kind.DELIVERED: "delivered",
    Kind.OPENED: "delivered",
    Kind.CLICKED: "delivered",
    Kind.REPLIED: "delivered",
    Kind.UNSUBSCRIBED: "delivered",
    Kind.GROUP_UNSUBSCRIBED: "delivered",
    Kind.GROUP_RESUBSCRIBED: "delivered",
    Kind.DROPPED: "dropped",
    Kind.BLOCKED: "blocked",
    Kind.SOFT_BOUNCED: "soft_bounced",
    Kind.HARD_BOUNCED: "hard_bounced",
    Kind.COMPLAINED: "complained",
}
"""What `message.delivery` says after an event; who opens a message has got it."""

RANKS = {
    word: rank
    for rank, word in enumerate(
        ("accepted", "deferred", "delivered", "dropped", "blocked", "soft_bounced", "hard_bounced", "complained"), 1
    )
}
"""A later word stands, in whatever order they are told: a mail that was delivered may still come back."""

NAMES = {
    Kind.DELIVERED: "email_delivered",
    Kind.OPENED: "email_opened",
    Kind.CLICKED: "email_link_clicked",
    Kind.REPLIED: "email_replied",
    Kind.SOFT_BOUNCED: "email_bounced",
    Kind.HARD_BOUNCED: "email_bounced",
    Kind.BLOCKED: "email_bounced",
    Kind.COMPLAINED: "email_marked_as_spam",
    Kind.UNSUBSCRIBED: "unsubscribed",
    Kind.GROUP_UNSUBSCRIBED: "unsubscribed",
}
"""The events that conditions can ask for; docs/vocabulary.md describes them."""

SMS_NAMES = {
    Kind.DELIVERED: "sms_delivered",
    Kind.DROPPED: "sms_failed",
    Kind.SOFT_BOUNCED: "sms_failed",
    Kind.HARD_BOUNCED: "sms_failed",
    Kind.BLOCKED: "sms_failed",
    Kind.REPLIED: "sms_replied",
    Kind.UNSUBSCRIBED: "unsubscribed",
}
"""The same for messages sent by SMS."""

BY_MACHINE = {Kind.OPENED: "email_opened_by_machine", Kind.CLICKED: "email_link_clicked_by_machine"}
"""A mail program or a proxy fetched the pictures, a scanner followed the links, whether or not anybody reads: other
names, so that `did("email_opened")` means a reader."""
