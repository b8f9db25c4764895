"""Signing in to Salesforce as an app, and asking it.

With a secret: https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_client_credentials_flow.htm.

A token ends when the org's session does, and nobody says when that is: an answer that does not know it any more did
nothing, so one new token is asked for and the request made again.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson
from pydantic import SecretStr

from connectors.addressing import can_be_sent, keeps_the_key
from connectors.answers import object_answered, pause, read_answer, server_time
from connectors.calling import Answered, Caller, bearer, said
from connectors.crm.salesforce_answers import refused
from connectors.crm.salesforce_assertion import form_of
from connectors.crm.salesforce_settings import SalesforceSettings
from connectors.json_bodies import text_in
from evergreet.errors import Misconfigured, Retryable

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SECRET = "…_CLIENT_SECRET, and that the app may use the client credentials flow and has a user to run as."
SIGNED = (
    "…_USERNAME, that the app has the certificate of …_PRIVATE_KEY and is pre-authorized for that user, …_AUDIENCE "
    "and this machine's clock."
)


class Session:
    """Asks one org; several threads may."""

    def __init__(self, door: Caller, settings: SalesforceSettings, now: Callable[[], datetime]) -> None:
        self._door = door
        self._settings = settings
        self._now = now
        self._signing_in = threading.Lock()
        self._inside: Caller | None = None
        self._fields: Mapping[str, Mapping[str, Any]] | None = None

    def ask(self, method: str, path: str, content: Any = None) -> tuple[Any, datetime]:
        """Ask what changes nothing; return the answer, and the time of Salesforce's clock; raises typed errors."""
        answered = self.fetch(method, path, content)
        found, now = read_answer(answered.content), server_time(answered.headers)
        if found is None:
            raise Retryable("Salesforce's answer cannot be read.")
        if now is None:
            raise Misconfigured("Salesforce's answer has no time. Is EVERGREET_SALESFORCE_BASE_URL right?")
        return found, now

    def fetch(self, method: str, path: str, content: Any = None) -> Answered:
        """Ask what changes nothing, and return the answer as it came; raises typed errors."""
        try:
            return self._call(method, path, content)
        except Retryable as fault:  # of a question nothing can be in doubt
            raise Retryable(fault.reason, retry_after=fault.retry_after) from None

    def described(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the fields of a contact by name as Salesforce describes them, asked for once."""
        if self._fields is None:
            found, _ = self.ask("GET", f"/sobjects/{self._settings.object}/describe")
            listed = found.get("fields") if isinstance(found, dict) else None
            if not isinstance(listed, list):
                raise Misconfigured("What answers there is not Salesforce. Is EVERGREET_SALESFORCE_BASE_URL right?")
            self._fields = {text_in(one, "name"): one for one in listed if isinstance(one, dict)}
        return self._fields

    def change(self, method: str, path: str, content: Any) -> Any:
        """Change something; return the answer, None where it cannot be read; raises typed errors."""
        return read_answer(self._call(method, path, content).content)

    def _call(self, method: str, path: str, content: Any) -> Answered:
        body = None if content is None else orjson.dumps(content)
        where = f"/services/data/v{self._settings.api_version}{path}"
        caller = self._signed_in()
        answered = caller.call(method, where, body)
        if isinstance(answered, Answered) and answered.status == 401:
            caller = self._signed_in(instead_of=caller)
            answered = caller.call(method, where, body)
        if not isinstance(answered, Answered):
            raise answered
        if answered.status not in {200, 201}:
            raise refused(answered, caller.key)
        return answered

    def _signed_in(self, instead_of: Caller | None = None) -> Caller:
        with self._signing_in:
            if self._inside is None or self._inside is instead_of:
                self._inside = self._sign_in()
            return self._inside

    def _sign_in(self) -> Caller:
        """Return a caller with a token of the org; raises typed errors: nothing was done."""
        self._inside = None
        signs = bool(self._settings.username)
        form = form_of(self._settings, self._now()) if signs else "grant_type=client_credentials"
        answered = self._door.call("POST", "/services/oauth2/token", form.encode(), FORM)
        if not isinstance(answered, Answered):
            raise Retryable(answered.reason) if isinstance(answered, Retryable) else answered
        content = object_answered(answered.content)
        if answered.status in {408, 429} or answered.status >= 500:
            wait = pause(answered.headers, "retry-after")
            raise Retryable(f"Salesforce answers {answered.status} to the sign-in.", retry_after=wait)
        token, where = text_in(content, "access_token"), text_in(content, "instance_url")
        try:
            if answered.status != 200 or not token:
                told = " ".join(text_in(content, name) for name in ("error", "error_description"))
                raise ValueError(said(told, self._door.key) or f"it answers {answered.status}")
            can_be_sent(SecretStr(token))
            return replace(self._door, base_url=keeps_the_key(where), key=token, headers=bearer(token))
        except ValueError as problem:
            raise Misconfigured(
                f"Salesforce does not let the app in: {problem}. Check EVERGREET_SALESFORCE_BASE_URL, …_CLIENT_ID and "
                + (SIGNED if signs else SECRET)
            ) from None
