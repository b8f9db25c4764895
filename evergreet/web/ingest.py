"""`/v1/identify`, `/v1/track`, `/v1/batch`, …: what happens and who people are, as Segment's HTTP API takes it.

https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/. Who is answered 200 finds it stored;
who is answered 5xx may post the same again.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import JSONResponse, Response

from evergreet.clock import Clock
from evergreet.database import Database
from evergreet.importing.rejects import Rejected
from evergreet.ingest.messages import CALLS, Message, Request, read_message
from evergreet.ingest.storing import store
from evergreet.settings import Settings
from evergreet.web.guard import POSTS
from evergreet.web.posts import Refused, is_among, parsed, refusal, unpacked, write_key
from evergreet.web.v1_schema import ANSWERS, batch_body, call_body
from evergreet.web.webhooks import Posted, posted

BATCHES = ("batch", "import")
MOST_MESSAGES = 2500
"""Messages of one batch; Segment's limit."""

LOG = logging.getLogger("evergreet.web")


class Intake:
    """Takes what is posted by who has a key."""

    def __init__(self, database: Database, settings: Settings, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._keys = [key.get_secret_value() for key in settings.write_keys]
        self._source = settings.ingest_source
        self._names = settings.event_names
        # The store takes one at a time, and SQLite has who waits ask again and again, in no order.
        self._storing = threading.Lock()

    def take(self, call: str, told: Posted) -> Response:
        """Store what a request says, and answer."""
        try:
            body = self._body(told)
            return self._answer(*self._store(call, body))
        except Refused as refused:
            return refusal(refused.status, refused.sentence)

    def _body(self, told: Posted) -> dict[str, Any]:
        """Return the body of somebody who may post; a key in the header is looked at before anything else."""
        if not self._keys:
            LOG.warning("Events posted to /v1 are refused: EVERGREET_WRITE_KEYS is not set")
            raise Refused(HTTPStatus.NOT_FOUND, "No events are taken here.")
        unknown = Refused(HTTPStatus.UNAUTHORIZED, "The write key is missing or is none of ours.")
        key = write_key(told.headers.get("authorization", ""))
        if key is not None and not is_among(key, self._keys):
            raise unknown
        body = parsed(unpacked(told.body, told.headers.get("content-encoding", "").strip().lower()))
        if key is None and not is_among(body.get("writeKey"), self._keys):
            raise unknown
        return body

    def _store(self, call: str, body: dict[str, Any]) -> tuple[int, dict[int, Rejected], Sequence[Any]]:
        calls = self._calls(call, body)
        with self._database.read() as connection:
            now = self._clock.now(connection)
        batched = call in BATCHES
        request = Request(
            now, self._names, body.get("context") if batched else None, body.get("sentAt") if batched else None
        )
        messages: list[Message] = []
        places: dict[str, int] = {}
        rejected: dict[int, Rejected] = {}
        for place, (name, said) in enumerate(calls):
            try:
                message = read_message(name, said, request)
            except Rejected as problem:
                rejected[place] = problem
                continue
            if message is not None:
                places.setdefault(message.id, place)
                messages.append(message)
        if messages:
            with self._storing, self._database.write() as connection:
                refused = store(connection, messages, self._source, self._clock, now)
            # One that had waited, and is taken only now, has no place in this request.
            rejected |= {places.get(id_, -1): problem for id_, problem in refused.items()}
        return len(calls), rejected, [said for _, said in calls]

    @staticmethod
    def _calls(call: str, body: dict[str, Any]) -> list[tuple[str, Any]]:
        if call not in BATCHES:
            return [(call, body)]
        batch = body.get("batch")
        if not isinstance(batch, list):
            raise Refused(HTTPStatus.BAD_REQUEST, "The body has no list of messages in batch.")
        if len(batch) > MOST_MESSAGES:
            raise Refused(HTTPStatus.BAD_REQUEST, f"A batch has more than {MOST_MESSAGES:,} messages.")
        return [(_text(said, "type") or "", said) for said in batch]

    @staticmethod
    def _answer(count: int, rejected: dict[int, Rejected], calls: Sequence[Any]) -> Response:
        if not rejected:
            return JSONResponse({"success": True})
        kinds = Counter(problem.reason for problem in rejected.values())  # no values: a log is no place for them
        LOG.warning("%d of %d messages posted to /v1 were left out: %s", len(rejected), count, dict(kinds))
        reasons = [
            {"place": place, "messageId": _text(calls[place], "messageId"), "message": str(problem)}
            for place, problem in sorted(rejected.items())
            if place >= 0
        ]
        if len(reasons) < count:
            return JSONResponse({"success": True, **({"rejected": reasons} if reasons else {})})
        return refusal(HTTPStatus.BAD_REQUEST, f"Nothing was stored: {reasons[0]['message']}.")


def router(intake: Intake) -> APIRouter:
    """Return the routes that take events and people."""
    routes = APIRouter()
    for call in (*CALLS, *BATCHES):
        routes.add_api_route(
            POSTS + call, _route(intake, call), methods=["POST"], operation_id=call, responses=ANSWERS,
            openapi_extra=batch_body() if call in BATCHES else call_body(call),
        )  # fmt: skip
    return routes


def _route(intake: Intake, call: str) -> Callable[..., Response]:
    def take(told: Annotated[Posted, Depends(posted)]) -> Response:
        return intake.take(call, told)

    return take


def _text(said: Any, name: str) -> str | None:
    """Return a text that a message has; half a character in it cannot be answered."""
    value = said.get(name) if isinstance(said, dict) else None
    return value.encode(errors="replace").decode() if isinstance(value, str) else None
