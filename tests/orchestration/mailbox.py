"""A real SMTP server that can keep senders waiting."""

import asyncio
import socket
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session


class Mailbox(Controller):
    """Takes mail after sign-in.

    While `held`, it keeps every message unanswered after its last octet; otherwise it answers after
    `seconds`. While `refusing`, no password is right.
    """

    def __init__(self, user: str, password: str) -> None:
        self.recipients: list[str] = []
        self.waiting: list[str] = []
        self.held = self.refusing = False
        self.seconds = 0.0
        self._socket = socket.create_server(("127.0.0.1", 0))

        def sign_in(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
            right = isinstance(data, LoginPassword) and data == LoginPassword(user.encode(), password.encode())
            return AuthResult(success=right and not self.refusing, handled=False)

        super().__init__(
            self, hostname="127.0.0.1", port=self._socket.getsockname()[1],
            authenticator=sign_in, auth_require_tls=False,
        )  # fmt: skip

    def _create_server(self) -> Any:
        return self.loop.create_server(self._factory_invoker, sock=self._socket)

    async def handle_DATA(self, _server: Any, _session: Session, envelope: Envelope) -> str:
        """Take one message."""
        self.waiting += envelope.rcpt_tos
        await asyncio.sleep(self.seconds)
        while self.held:
            await asyncio.sleep(0.02)
        self.recipients += envelope.rcpt_tos
        return f"250 2.0.0 Ok: queued as Q{len(self.recipients)}"
