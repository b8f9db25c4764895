"""Local servers that accept everything, in a process of their own: `python -m benchmarks.servers http|smtp`.

They print their port on the first line, keep no message, and know how many came and the sum of their keys: a
message that is lost and another that is doubled leave the count as it was, and change the sum.
"""

import asyncio
import re
import sys
from dataclasses import dataclass

import orjson

KEY = re.compile(r"[0-9a-f]{32}")
MESSAGE_ID = re.compile(rb"^message-id: <([0-9a-f]{32})@", re.IGNORECASE | re.MULTILINE)
KEY_SPACE = 2**128


@dataclass
class Seen:
    """What has come so far."""

    messages: int = 0
    requests: int = 0
    keys: int = 0

    def add(self, key: str) -> None:
        self.messages += 1
        self.keys = (self.keys + int(key or "0", 16)) % KEY_SPACE

    def dumped(self) -> bytes:
        return orjson.dumps({"messages": self.messages, "requests": self.requests, "keys": f"{self.keys:x}"})


class Http(asyncio.Protocol):
    """HTTP/1.1 as far as a client with a kept connection needs it; POST is a mail/send of SendGrid's v3."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.unread = bytearray()
        self.wanted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.unread += data
        while len(self.unread) >= self.wanted and (end := self.unread.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.unread[:end]).lower()
            length = re.search(rb"\r\ncontent-length: *(\d+)", head)
            self.wanted = end + 4 + int(length[1] if length else 0)
            if len(self.unread) < self.wanted:
                return
            body = bytes(self.unread[end + 4 : self.wanted])
            del self.unread[: self.wanted]
            self.wanted = 0
            self._answer(head.startswith(b"post"), body)

    def _answer(self, post: bool, body: bytes) -> None:
        if not post:
            counts = self.seen.dumped()
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(counts)
            self.transport.write(head + counts)
            return
        self.seen.requests += 1
        for one in orjson.loads(body)["personalizations"]:
            texts = (str(value) for value in one.get("custom_args", {}).values())
            self.seen.add(next((text for text in texts if KEY.fullmatch(text)), ""))
        name = b"sink-%d" % self.seen.requests
        self.transport.write(b"HTTP/1.1 202 Accepted\r\nX-Message-Id: " + name + b"\r\nContent-Length: 0\r\n\r\n")


class Smtp(asyncio.Protocol):
    """SMTP for well-formed clients: every command is 250, DATA ends at the dot, XCOUNT says what has come."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.unread = bytearray()
        self.mail = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self.unread += data
        while self._step():
            pass

    def _step(self) -> bool:
        ending = b"\r\n.\r\n" if self.mail else b"\r\n"
        end = self.unread.find(ending)
        if end < 0:
            return False
        read = bytes(self.unread[:end])
        del self.unread[: end + len(ending)]
        if self.mail:
            self.mail = False
            key = MESSAGE_ID.search(read)
            self.seen.add(key[1].decode() if key else "")
            self.transport.write(b"250 ok\r\n")
            return True
        verb = read.partition(b" ")[0].upper()
        self.mail = verb == b"DATA"
        answers = {
            b"DATA": b"354 go on", b"QUIT": b"221 bye", b"EHLO": b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME",
            b"XCOUNT": b"250 " + self.seen.dumped(),
        }  # fmt: skip
        self.transport.write(answers.get(verb, b"250 ok") + b"\r\n")
        if verb == b"QUIT":
            self.transport.close()
        return True


async def serve(kind: str) -> None:
    seen = Seen()
    protocol = {"http": Http, "smtp": Smtp}[kind]
    server = await asyncio.get_running_loop().create_server(lambda: protocol(seen), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # The end of standard input is the end of whoever started this, however it ended.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
