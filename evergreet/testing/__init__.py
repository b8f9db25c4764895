"""What any connector must pass, ours or a stranger's: subclass the contract in a test of your own (needs pytest)."""

import pytest

pytest.register_assert_rewrite(
    *(
        f"evergreet.testing.{name}"
        for name in ("connector", "crm", "email", "events", "internal", "signatures", "sms", "webhooks")
    )
)

from evergreet.testing.connector import ConnectorContract  # noqa: E402 # after its asserts are to be rewritten
from evergreet.testing.crm import CrmConnectorContract  # noqa: E402
from evergreet.testing.email import Arrived, EmailConnectorContract  # noqa: E402
from evergreet.testing.events import EventContract  # noqa: E402
from evergreet.testing.internal import InternalConnectorContract  # noqa: E402
from evergreet.testing.sms import ArrivedSms, SmsConnectorContract  # noqa: E402
from evergreet.testing.webhooks import WebhookContract  # noqa: E402

__all__ = [
    "Arrived", "ArrivedSms", "ConnectorContract", "CrmConnectorContract", "EmailConnectorContract", "EventContract",
    "InternalConnectorContract", "SmsConnectorContract", "WebhookContract",
]  # fmt: skip
