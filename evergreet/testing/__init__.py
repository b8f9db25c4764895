"""What any connector must pass, ours or a stranger's: subclass the contract in a test of your own (needs pytest)."""

import pytest

pytest.register_assert_rewrite("evergreet.testing.email")

from evergreet.testing.email import Arrived, EmailConnectorContract  # noqa: E402 # after its asserts are to be rewritten

__all__ = ["Arrived", "EmailConnectorContract"]
