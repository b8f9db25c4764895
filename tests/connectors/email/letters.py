"""Messages as the engine would hand them to a connector."""

from collections.abc import Mapping
from datetime import UTC, datetime

from evergreet.contracts import EmailMessage, Mailbox

SENDER = Mailbox("hello@fernway.example", "Fernway Supply")
ANNA = Mailbox("anna@customer.example", "Anna Berg")


def letter(
    key: str = "1.a1b2c3",
    *,
    to: Mailbox = ANNA,
    sender: Mailbox = SENDER,
    subject: str = "Thank you for your order",
    html: str = "<p>Thank you, Anna.</p>",
    text: str = "Thank you, Anna.",
    reply_to: Mailbox | None = None,
    headers: Mapping[str, str] | None = None,
) -> EmailMessage:
    """One message in which nothing is unusual but what is given."""
    return EmailMessage(
        key=key, to=to, sender=sender, subject=subject, html=html, text=text, reply_to=reply_to,
        date=datetime(2026, 3, 10, 12, 0, tzinfo=UTC), template="hash", headers=headers or {},
    )  # fmt: skip
