"""Slack: notes for the team, by incoming webhooks.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks. Slack gives a note no id and knows none of
ours: what it may have taken and did not answer stays in doubt, unless the step says `resend_after`.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import ClassVar, Self

import httpx
import orjson

from connectors.calling import Answered, Caller, make_client
from connectors.elapsed import Clock, elapsed
from connectors.environment import read_settings
from connectors.internal.addresses import place_of
from connectors.internal.slack_answers import REFUSED, understand
from connectors.internal.slack_settings import SlackSettings
from evergreet.contracts import Accepted, Capabilities, Outcome, SlackNote
from evergreet.errors import Misconfigured, Permanent

LONGEST = 40_000
"""Characters of a text, https://docs.slack.dev/changelog/2018-truncating-really-long-messages."""


class Slack:
    """Writes notes into Slack channels; `send` may be called from several threads."""

    name: ClassVar[str] = "slack"
    capabilities: ClassVar[Capabilities] = Capabilities(
        channel="slack", connections=2, proven_by=("the slack_sdk package", "words of its documentation")
    )

    def __init__(self, settings: SlackSettings, client: httpx.Client, *, clock: Clock = elapsed) -> None:
        self._client = client
        self._channels: dict[str, Caller] = {}
        for name, one in settings.to.items():
            server, path = place_of(one.url)
            self._channels[name] = Caller(
                "Slack", client, server, path, {}, settings.connect_timeout, settings.timeout, clock
            )
        # What the class declares are the defaults of the settings.
        self.capabilities = replace(type(self).capabilities, connections=settings.connections)  # type: ignore[misc]

    @classmethod
    def from_environment(cls) -> Self:
        """Read `EVERGREET_SLACK_…`."""
        settings = read_settings(SlackSettings)
        return cls(settings, make_client(settings.connections))

    @property
    def destinations(self) -> Collection[str]:
        """The names of the channels that are set."""
        return self._channels.keys()

    def send(self, batch: Sequence[SlackNote]) -> list[Outcome]:
        """Hand the notes over one after the other."""
        return [self._send(note) for note in batch]

    def _send(self, note: SlackNote) -> Outcome:
        if note.to not in self._channels:
            return Misconfigured(f"EVERGREET_SLACK_TO__{note.to.upper()}__URL is not set.")
        text = note.text.encode("utf-8", "replace").decode()
        if not text.strip() or len(text) > LONGEST:
            return Permanent(f"Slack takes a text of 1 to {LONGEST} characters; this one has {len(text)}.")
        return self._post(note.to, {"text": text})

    def _post(self, name: str, payload: dict[str, str]) -> Outcome:
        caller = self._channels[name]  # its key is the path: whoever knows it may write there
        answered = caller.call("POST", caller.key, orjson.dumps(payload))
        return understand(answered, name, caller.key) if isinstance(answered, Answered) else answered

    def check(self) -> str:
        """Post nothing at all to each: a webhook that is alive says that the text is missing."""
        if not self._channels:
            raise Misconfigured("There is no channel: set EVERGREET_SLACK_TO__NAME__URL to an incoming webhook.")
        for name in self._channels:
            outcome = self._post(name, {})
            refused = isinstance(outcome, Permanent) and any(word in outcome.reason for word in REFUSED)
            if not refused and not isinstance(outcome, Accepted):
                raise outcome
        return f"Slack takes notes for {', '.join(self._channels)}."

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()

    def __repr__(self) -> str:
        return f"Slack({sorted(self._channels)!r})"
