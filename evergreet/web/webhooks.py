"""`/webhooks/{connector}`: what providers tell of messages, shops of customers and CRMs of changes, verified first.

It is stored before it is answered. Who tells does so again when the answer was not the one for what is taken, for a
day or so; told twice, an event is stored once. Applying what is told of messages comes after the answer, and what this
process does not get round to, `evergreet reconcile` does.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Depends
from sqlalchemy.exc import SQLAlchemyError
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from evergreet.clock import Clock
from evergreet.contracts import Connector, CrmListener, EventSource, WebhookRequest, WebhookSource
from evergreet.crm.listening import store_told
from evergreet.crm.opening import rules_of
from evergreet.database import Database
from evergreet.errors import (
    ConfigurationError,
    EvergreetError,
    Misconfigured,
    NotGenuine,
    Permanent,
    Retryable,
    Unreadable,
)
from evergreet.feedback.applying import apply_waiting
from evergreet.feedback.storing import store
from evergreet.ingest import customers, wishes
from evergreet.registry import connector_entries
from evergreet.tokens import Tokens
from evergreet.web.guard import WEBHOOKS

LOG = logging.getLogger("evergreet.web")

Source: TypeAlias = WebhookSource | EventSource | CrmListener
"""Who can be told something."""


@dataclass(frozen=True, slots=True)
class Posted:
    """A request as it came, before anything in it is believed."""

    headers: dict[str, str]
    body: bytes
    query: str = ""


async def posted(request: Request) -> Posted:
    """Read the body; a header that comes twice is no header of a signature."""
    names = [name for name, _ in request.headers.items()]
    headers = {name: request.headers[name] for name in names if names.count(name) == 1}
    return Posted(headers, await request.body(), request.scope["query_string"].decode("latin-1"))


class Inbox:
    """Takes what connectors' providers tell: opens each connector when it is first told something, and stores."""

    def __init__(
        self,
        database: Database,
        tokens: Tokens,
        clock: Clock,
        open_connector: Callable[[str], Connector],
        event_names: Mapping[str, str],
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._clock = clock
        self._open = open_connector
        self._event_names = event_names
        self._sources: dict[str, Source | None] = {}
        self._opening = threading.Lock()
        self._applying = threading.Lock()
        self._stored = threading.Event()

    def source(self, name: str) -> Source | None:
        """Return the connector of that name; None where there is none that listens, or its settings are missing."""
        with self._opening:
            if name not in self._sources and name in connector_entries():
                self._sources[name] = self._opened(name)
            return self._sources.get(name)

    def _opened(self, name: str) -> Source | None:
        try:
            connector = self._open(name)
        except ConfigurationError as error:
            LOG.error("Webhooks of %s are refused: %s", name, error)
            return None
        if isinstance(connector, (WebhookSource, EventSource, CrmListener)):
            return connector
        connector.close()
        return None

    def take(self, name: str, source: Source, told: Posted) -> int:
        """Verify, read and store; return what to answer, which never says why."""
        taken, again = source.capabilities.taken, source.capabilities.again
        try:
            with self._database.read() as connection:
                now = self._clock.now(connection)
            request = WebhookRequest(told.headers, told.body, now, told.query)
            source.verify(request)
            if isinstance(source, EventSource):
                self._store_customers(name, source, request)
                return taken
            if isinstance(source, CrmListener):
                self._store_contacts(name, source, request)
                return taken
            events = source.parse(request)
            if events:
                with self._database.write() as connection:
                    store(connection, name, events, now)
            return taken
        except NotGenuine as error:
            LOG.warning("A webhook of %s was refused: %s", name, error.reason)
            return HTTPStatus.FORBIDDEN
        except Misconfigured as error:
            LOG.error("Webhooks of %s are refused: %s", name, error.reason)
            return HTTPStatus.NOT_FOUND
        except Unreadable as error:
            LOG.warning("A webhook of %s cannot be read: %s", name, error.reason)
            return HTTPStatus.BAD_REQUEST
        except (Retryable, Permanent) as error:  # the second is about what was asked for to read it
            LOG.warning("A webhook of %s cannot be taken now: %s", name, error.reason)
            return again
        except (EvergreetError, SQLAlchemyError) as error:
            LOG.error("A webhook of %s cannot be stored: %s", name, type(error).__name__, exc_info=error)
            return again

    def _store_customers(self, name: str, source: EventSource, request: WebhookRequest) -> None:
        """Store what a shop tells; what cannot be used is answered as well: told again it would be no better."""
        told = source.read_events(request)
        if not told:
            return
        happened = [each for each in told if not each.wish]
        wished = [each for each in told if each.wish]
        with self._database.write() as connection:
            left = wishes.carry_out(connection, name, wished, self._tokens, request.received_at)
            left += customers.store(connection, name, happened, self._event_names, self._clock, request.received_at)
        if left:  # no values: a log is no place for them
            LOG.warning("%d of %d events told by %s were left out: %s", left.total(), len(told), name, dict(left))

    def _store_contacts(self, name: str, source: CrmListener, request: WebhookRequest) -> None:
        """Store the contacts that a CRM says have changed, read from it just now."""
        contacts = source.read_changes(request)
        if not contacts:
            return
        stored = store_told(self._database, name, contacts, rules_of(name), self._clock)
        if stored.rejected:
            reasons = sorted({problem.reason for _, problem in stored.rejected})
            LOG.warning("%d contacts of %s cannot be stored: %s", len(stored.rejected), name, ", ".join(reasons))

    def apply(self) -> None:
        """Apply what is stored, unless somebody in this process is at it, who then looks once more."""
        self._stored.set()
        while self._stored.is_set() and self._applying.acquire(blocking=False):
            try:
                self._stored.clear()
                apply_waiting(self._database, self._tokens, self._clock)
            except Exception:
                LOG.exception("Provider events wait to be applied; `evergreet reconcile` does it")
                return
            finally:
                self._applying.release()

    def close(self) -> None:
        """Close the connectors that were opened."""
        for source in self._sources.values():
            if source is not None:
                with suppress(Exception):  # one that cannot be closed keeps no other from it
                    source.close()


def router(inbox: Inbox) -> APIRouter:
    """Return the route that takes webhooks."""
    routes = APIRouter()

    @routes.post(WEBHOOKS + "{connector}")
    def tell(connector: str, told: Annotated[Posted, Depends(posted)]) -> Response:
        source = inbox.source(connector)
        if source is None:
            return Response(status_code=HTTPStatus.NOT_FOUND)
        status = inbox.take(connector, source, told)
        taken = status == source.capabilities.taken
        return Response(status_code=status, background=BackgroundTask(inbox.apply) if taken else None)

    return routes
