"""Local servers that accept everything, in a process of their own: `python -m benchmarks.servers http BOOK`.

Each writes one line per message into its book, the key of the message (`-` where it has none) and the recipient, and
keeps no message: so every message can be found again, and one that is lost or doubled has a name. They print their
port on the first line, and end with their standard input.

`http` takes SendGrid's v3 mail/send, `smtp` takes mail, and `pipe` reads the dumps of Postfix' `smtp-sink` from a pipe.
"""

import asyncio
import os
import re
import sys
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson

KEY = re.compile(r"[0-9a-f]{32}")
DUMPED = re.compile(rb"\nX-Rcpt-Args: <([^>\n]*)>.*?\nMessage-I[dD]: <([^>\n]+)>", re.DOTALL)
"""The recipient and the Message-ID. Dumps of several connections are mixed, but not inside of their first 4 kB."""
MESSAGE_ID = re.compile(rb"^message-id: <([^>\r]+)>", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Book:
    """What has come, a line each; a line that is written stays, however this process ends."""

    file: int

    def add(self, *messages: tuple[str, str]) -> None:
        """Write down messages: key and recipient."""
        lines = "".join(f"{key or '-'} {recipient}\n" for key, recipient in messages)
        os.write(self.file, lines.encode())


def key_of(message_id: bytes) -> str:
    """Return the key of a message that is ours; empty for any other."""
    local = message_id.partition(b"@")[0].decode(errors="replace")
    return local if KEY.fullmatch(local) else ""


class Http(asyncio.Protocol):
    """HTTP/1.1 as far as a client with a kept connection needs it; POST is a mail/send of SendGrid's v3."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.unread = bytearray()
        self.wanted = self.requests = 0

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
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        self.requests += 1
        self.book.add(*(self._message(one) for one in orjson.loads(body)["personalizations"]))
        name = b"sink-%d" % self.requests
        self.transport.write(b"HTTP/1.1 202 Accepted\r\nX-Message-Id: " + name + b"\r\nContent-Length: 0\r\n\r\n")

    @staticmethod
    def _message(one: dict[str, Any]) -> tuple[str, str]:
        texts = (str(value) for value in one.get("custom_args", {}).values())
        return next((text for text in texts if KEY.fullmatch(text)), ""), one["to"][0]["email"]


class Smtp(asyncio.Protocol):
    """SMTP for well-formed clients: every command is 250, DATA ends at the dot."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.unread = bytearray()
        self.recipient = ""
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
            found = MESSAGE_ID.search(read)
            self.book.add((key_of(found[1]) if found else "", self.recipient))
            self.transport.write(b"250 ok\r\n")
            return True
        verb = read.partition(b" ")[0].upper()
        self.mail = verb == b"DATA"
        if verb == b"RCPT":
            self.recipient = read.partition(b"<")[2].partition(b">")[0].decode()
        answers = {b"DATA": b"354 go on", b"QUIT": b"221 bye", b"EHLO": b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME"}
        self.transport.write(answers.get(verb, b"250 ok") + b"\r\n")
        if verb == b"QUIT":
            self.transport.close()
        return True


def read_pipe(pipe: Path, book: Book) -> None:
    """Write down what comes through a pipe, until the process is ended."""
    file = os.open(pipe, os.O_RDWR)  # to write as well: else it would end whenever nobody else has it open
    print(0, flush=True)
    unread = b""
    while True:
        unread += os.read(file, 2**20)
        end = 0
        found = []
        for match in DUMPED.finditer(unread):
            found.append((key_of(match[2]), match[1].decode()))
            end = match.end()
        if found:
            book.add(*found)
            unread = unread[end:]


async def serve(kind: str, book: Book) -> None:
    """Serve until standard input ends."""
    protocol = {"http": Http, "smtp": Smtp}[kind]
    server = await asyncio.get_running_loop().create_server(partial(protocol, book), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # The end of standard input is the end of whoever started this, however it ended.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    kind, path, *pipe = sys.argv[1:]
    book = Book(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT))
    if kind == "pipe":
        threading.Thread(target=read_pipe, args=(Path(pipe[0]), book), daemon=True).start()
        sys.stdin.read()
    else:
        asyncio.run(serve(kind, book))


if __name__ == "__main__":
    main()
