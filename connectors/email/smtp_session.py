"""One SMTP connection: `smtplib` with every wait and every answer bounded, and the boundary of the dot exact.

`smtplib` reads answers without an overall time limit and without a limit on their length, and `sendmail` hides at
which step it failed. What may be done after a failure depends on nothing else: until the final dot was handed over,
nothing was accepted; from then on, only the server's answer can tell.

A server that announces PIPELINING (RFC 2920) gets MAIL, RCPT and DATA in one write, and the content only once all three
are granted. The next message is begun after the answer to the dot, so that it stays certain which one was accepted.
"""

import re
import smtplib
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress

from connectors.elapsed import Clock
from connectors.email.mime import Mime
from connectors.email.smtp_answers import queue_id, refused, said
from evergreet.contracts import Accepted, Outcome
from evergreet.errors import Misconfigured, Permanent, Retryable

LONGEST_ANSWER = 64 * 1024
"""Octets of one answer; the longest, to EHLO, has some dozens of lines of at most 512 (RFC 5321 §4.5.3.1.5)."""

_CODE = re.compile(rb"[2-5]\d\d(?=[ -]|$)")
_QUIT_SECONDS = 5.0


class StaleConnection(Exception):
    """The server had ended a connection that was used before; nothing of the next message was handed over."""


class Session(smtplib.SMTP):
    """A connection over which one message after another is handed over.

    `timeout` is for each answer, in seconds; until `opened` is called, all has to be over at `opening_ends`.
    """

    def __init__(
        self, connected: socket.socket, *, helo: str, timeout: float, opening_ends: float, clock: Clock
    ) -> None:
        super().__init__(local_hostname=helo, timeout=timeout)
        self.sock = connected
        self.carried = 0
        self._seconds = timeout
        self._clock = clock
        self._opening_ends: float | None = opening_ends
        self._unread = b""

    @property
    def usable(self) -> bool:
        """Whether another message may be handed over."""
        return self.sock is not None

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Go over to TLS, verifying the server, and forget what it said before (RFC 3207 §4.2)."""
        if self._unread or self.sock is None:
            raise self._lost("it sent something ahead of TLS")
        self.sock.settimeout(self._remaining(self._ends()))
        self.sock = context.wrap_socket(self.sock, server_hostname=host)
        self.ehlo_resp = self.helo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False

    def opened(self) -> None:
        """Say that the connection is ready for messages."""
        self._opening_ends = None
        self.user = self.password = ""  # smtplib keeps what it signed in with

    def hand_over(self, mail: Mime, key: str) -> Outcome:
        """Carry one message to its end, whatever it is.

        Raises `StaleConnection` where the server had ended a connection that carried messages before: the
        caller may open another, since nothing of this message was handed over.
        """
        unfit = self._unfit(mail)
        if unfit is not None:
            return unfit
        reused, self.carried = self.carried > 0, self.carried + 1
        self.command_encoding = "utf-8" if mail.international else "ascii"
        step = "MAIL"
        try:
            commands = (
                ("MAIL", f"MAIL FROM:<{mail.sender}>{' SMTPUTF8' if mail.international else ''}\r\n", 2),
                ("RCPT", f"RCPT TO:<{mail.recipient}>\r\n", 2),
                ("DATA", "DATA\r\n", 3),
            )
            together = "pipelining" in self.esmtp_features
            if together:
                self.send("".join([line for _, line, _ in commands]))
            for place, (step, line, wanted) in enumerate(commands):
                if not together:
                    self.send(line)
                code, text = self.getreply()
                if code == 421 and step == "MAIL" and reused:
                    raise self._lost("it closes the channel")
                if code // 100 != wanted:
                    if together and 400 <= code <= 599 and code != 421:
                        self._let_pass(commands[place + 1 :])
                    return self._refused(step, code, text)
            # Should this fail, the last octet of the dot's line has not left: the server cannot have seen the end.
            self.send(mail.content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        except smtplib.SMTPServerDisconnected as lost:
            if step == "MAIL" and reused:
                raise StaleConnection from None
            return Retryable(f"The server was lost at {step}, before it had the message: {lost}.", accepted="no")
        try:
            code, text = self.getreply()
        except smtplib.SMTPServerDisconnected as lost:
            return Retryable(
                f"The server had the whole message, but did not say what became of it: {lost}.", accepted="maybe"
            )
        if 200 <= code <= 299:
            return Accepted(queue_id(text) or key)
        if code >= 400:
            return self._refused("content", code, text)
        self.close()
        return Retryable(
            f"The server had the whole message, but its answer is none: {said(code, text)}", accepted="maybe"
        )

    def end(self) -> None:
        """Say goodbye; what the server answers changes nothing any more."""
        self._seconds = min(self._seconds, _QUIT_SECONDS)
        with suppress(smtplib.SMTPException, OSError):
            self.quit()
        self.close()

    def _unfit(self, mail: Mime) -> Outcome | None:
        """Say why this server will not take the message, from what it announced."""
        if mail.international and not self.has_extn("smtputf8"):
            if not mail.sender.isascii():
                return Misconfigured(
                    "The sender's address has letters beyond ASCII, which this server does not take (SMTPUTF8)."
                )
            return Permanent(
                "The recipient's address has letters beyond ASCII, which this server does not take (SMTPUTF8)."
            )
        limit = self.esmtp_features.get("size", "")
        if limit.isdecimal() and 0 < int(limit) < len(mail.content):
            return Permanent(f"The message has {len(mail.content):,} octets; the server takes {int(limit):,}.")
        return None

    def _let_pass(self, commands: Sequence[tuple[str, str, int]]) -> None:
        """Read what is answered to commands that were sent together with one that was refused.

        Where the server waits for a content although it has no recipient, it gets an empty one (RFC 2920 §3.1); where
        it has one, but no sender, the connection is closed: an empty message must not arrive.
        """
        has_recipient = False
        with suppress(smtplib.SMTPServerDisconnected):
            for step, _, wanted in commands:
                code, _text = self.getreply()
                if code == 421 or not 200 <= code <= 599:
                    self.close()
                    return
                granted = code // 100 == wanted
                has_recipient = has_recipient or (granted and step == "RCPT")
                if granted and step == "DATA":
                    if has_recipient:
                        self.close()
                        return
                    self.send(b".\r\n")
                    code, _text = self.getreply()
                    if code == 421 or not 200 <= code <= 599:
                        self.close()

    def _refused(self, step: str, code: int, text: bytes) -> Outcome:
        """Leave the connection ready for the next message, or closed."""
        if code == 421 or not 400 <= code <= 599:
            self.close()
        elif step != "content" and self.usable:
            with suppress(smtplib.SMTPServerDisconnected):
                if self.docmd("RSET")[0] != 250:
                    self.close()
        return refused(step, code, text)

    def send(self, s: object) -> None:
        """Send, unless an answer nobody asked for is waiting: it would be taken for the next one's."""
        if self._unread:
            raise self._lost("it answered out of turn")
        if self.sock is None:
            raise self._lost("it is not connected")
        self._wait_until(self._ends())
        try:
            self.sock.sendall(s.encode(self.command_encoding) if isinstance(s, str) else s)  # type: ignore[arg-type]
        except TimeoutError:
            raise self._lost(f"it took nothing more for {self._seconds:g} seconds") from None
        except OSError as error:
            raise self._lost(_broken(error)) from None

    def getreply(self) -> tuple[int, bytes]:
        """Read one answer; code -1 when it is none. Ends after the time limit and after `LONGEST_ANSWER`."""
        ends = self._ends()
        room = LONGEST_ANSWER
        texts: list[bytes] = []
        first: bytes | None = None
        while True:
            line = self._line(ends, room)
            room -= len(line)
            code = _CODE.match(line)
            if code is None or (first is not None and code[0] != first):
                return -1, line[:200]
            first = code[0]
            texts.append(line[4:].strip())
            if line[3:4] != b"-":
                return int(first), b"\n".join(texts)

    def _line(self, ends: float, room: int) -> bytes:
        while (end := self._unread.find(b"\n", 0, room)) < 0:
            if len(self._unread) > room:
                raise self._lost(f"its answer is longer than {LONGEST_ANSWER // 1024} KiB")
            if self.sock is None:
                raise self._lost("it is not connected")
            self._wait_until(ends)
            try:
                octets = self.sock.recv(16384)
            except TimeoutError:
                raise self._late() from None
            except OSError as error:
                raise self._lost(_broken(error)) from None
            if not octets:
                raise self._lost("it closed the connection")
            self._unread += octets
        line, self._unread = self._unread[:end], self._unread[end + 1 :]
        return line.rstrip(b"\r")

    def _ends(self) -> float:
        ends = self._clock() + self._seconds
        return ends if self._opening_ends is None else min(ends, self._opening_ends)

    def _remaining(self, ends: float) -> float:
        remaining = ends - self._clock()
        if remaining <= 0:
            raise self._late()
        return remaining

    def _wait_until(self, ends: float) -> None:
        """Bound the next wait; what is left of a time limit that has hardly begun is taken for the whole."""
        assert self.sock is not None
        remaining = self._remaining(ends)
        if remaining >= self._seconds - 0.01:
            remaining = self._seconds
        if self.sock.gettimeout() != remaining:  # to set it is a call of the system
            self.sock.settimeout(remaining)

    def _late(self) -> smtplib.SMTPServerDisconnected:
        return self._lost(f"no answer within {self._seconds:g} seconds")

    def _lost(self, why: str) -> smtplib.SMTPServerDisconnected:
        self.close()
        return smtplib.SMTPServerDisconnected(why)


def _broken(error: OSError) -> str:
    return f"the connection broke ({error.strerror or type(error).__name__})"
