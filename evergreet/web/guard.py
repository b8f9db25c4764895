"""What holds for every request: headers, the size of a body, and logs without tokens."""

import asyncio
import logging
import re
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_LIMIT = 16_384
"""Bytes; the largest honest body of a page is a one-click POST of under 300."""
WEBHOOKS = "/webhooks/"
WEBHOOK_LIMIT = 2 * 1024 * 1024
"""Bytes of a webhook; SendGrid's batches end at 768 KiB."""
POSTS = "/v1/"
POST_LIMIT = 500 * 1024
"""Bytes of a request to `/v1/…`, packed or not; Segment's limit."""
BODY_SECONDS = 30.0
"""How long somebody may take to send a body: who sends an octet now and then would hold a connection for good."""

_TOKEN = re.compile(r"/(u|preferences|c)/[^/?#\s]+")


class Headers:
    """Adds the security headers; nothing here may be cached, framed, indexed or tell a referrer."""

    def __init__(self, app: ASGIApp, style_hash: str) -> None:
        self.app = app
        self.headers = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": (
                f"default-src 'none'; style-src '{style_hash}'; form-action 'self'; base-uri 'none'; "
                "frame-ancestors 'none'"
            ),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "X-Robots-Tag": "noindex, nofollow",
            "Cross-Origin-Resource-Policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and add the headers to its answer."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        await self.app(scope, receive, with_headers)


class BodyLimit:
    """Refuses a body above the limit of its path, whatever its Content-Length says, and one that takes too long."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count what is read of its body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        read, whole = 0, False
        ends = asyncio.get_running_loop().time() + BODY_SECONDS
        limit = _limit(scope.get("path", ""))

        async def counted() -> Message:
            nonlocal read, whole
            if whole:  # what is waited for now is that somebody hangs up
                return await receive()
            try:
                async with asyncio.timeout_at(ends):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "What was sent did not arrive in time") from None
            whole = not message.get("more_body", False)
            read += len(message.get("body", b""))
            if read > limit:
                raise HTTPException(413, "What was sent is too large")
            return message

        await self.app(scope, counted, send)


def _limit(path: str) -> int:
    if path.startswith(WEBHOOKS):
        return WEBHOOK_LIMIT
    return POST_LIMIT if path.startswith(POSTS) else BODY_LIMIT


class WithoutTokens(logging.Filter):
    """Takes the tokens out of uvicorn's access log: who reads a log must not be able to unsubscribe others."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the path of the request."""
        if isinstance(record.args, tuple):
            record.args = tuple(_hidden(value) for value in record.args)
        record.msg = _hidden(record.msg)
        return True


WITHOUT_TOKENS = WithoutTokens()
"""The one filter, so that it is installed once however many applications are made."""


def _hidden(value: Any) -> Any:
    return _TOKEN.sub(r"/\1/…", value) if isinstance(value, str) else value
