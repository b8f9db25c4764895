"""The faults, by name, and the log of those that were injected."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

KINDS = {
    "SIGKILL": "a worker is killed at any moment",
    "SIGTERM": "a worker is asked to stop: it settles what it has in hand and leaves nothing unknown",
    "out of memory": "a worker may have no more memory than it has (RLIMIT_AS), and is killed if it goes on",
    "SIGSTOP": "a worker is stopped, loses what it owns where the store can tell, and wakes up",
    "session ended": "PostgreSQL ends the session of a worker (pg_terminate_backend)",
    "PostgreSQL restarts fast": "the server ends all sessions, and is back a moment later",
    "PostgreSQL crashes": "the server stops at once, recovers, and is back a moment later",
    "deadlock": "somebody locks contacts in the wrong order",
    "serialization failure": "PostgreSQL rolls back some of what workers write",
    "importer overtaken": "an import commits after a later one",
    "locked": "another process has locked the SQLite file for longer than anybody waits",
    "disk full": "the disk of the database has no room, for a while",
    "clock forward": "the clock jumps ahead, by up to thirty hours",
    "clock backward": "the clock jumps back, by up to twenty minutes",
    "definition changed": "workers of another definition of the campaigns join the old ones",
    "template broken": "workers come with a template that cannot be rendered",
    "unsubscribed": "a contact leaves the topic",
    "suppressed": "an address is put on the list of those who get nothing",
    "erased": "a contact is erased",
    "latency": "the provider takes its time",
    "429 with Retry-After": "the provider asks to wait so long",
    "429": "the provider asks to wait (SMTP: 451)",
    "5xx": "the provider takes it and answers with an error of its own, or does not take it (SMTP: refuses one mail)",
    "mailbox unknown": "the provider says that there is no such mailbox",
    "half refused": "the provider refuses every second recipient of a request",
    "time-out before the body": "the provider stops answering before it has taken anything",
    "time-out after the body": "the provider has taken it, and never answers",
    "connection reset": "the provider goes away in the middle of a message",
    "answer lost": "the provider has taken it, and the connection ends before its answer is read",
    "webhook early": "SendGrid tells of a mail while its answer is being settled",
    "webhook late": "… long after it happened",
    "webhook doubled": "… twice",
    "webhook out of order": "… of many, in no order",
    "webhook lost": "… never",
}
"""What each fault is."""

IN_DOUBT = {"5xx", "time-out before the body", "time-out after the body", "connection reset", "answer lost"}
"""Faults of the provider after which nobody can know whether it has the message."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: when, counted from the beginning of the run in seconds, and whom it struck."""

    kind: str
    at: float
    about: str


@dataclass
class Log:
    """What was injected, in order; several threads write to it."""

    faults: list[Fault] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, kind: str, about: str) -> None:
        """Note a fault as it is injected."""
        assert kind in KINDS, kind
        with self._lock:
            self.faults.append(Fault(kind, time.monotonic() - self.began, about))

    def counts(self) -> Counter[str]:
        """How often each was injected."""
        with self._lock:
            return Counter(fault.kind for fault in self.faults)
