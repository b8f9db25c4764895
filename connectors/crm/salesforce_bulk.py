"""Reading everything from Salesforce by one query job of its Bulk API 2.0; its results are CSV.

https://developer.salesforce.com/docs/platform/api-asynch/guide/query-bulk-api-2-0.html. The job's number stands in the
cursor, so that a pull may end while Salesforce is at it and the next one goes on; results are kept for a week.
"""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from connectors.crm.salesforce_changes import PAGE, Place, next_pull, page_of, select
from connectors.crm.salesforce_session import Session
from connectors.crm.salesforce_settings import SalesforceSettings
from connectors.crm.salesforce_soql import is_id, written
from connectors.json_bodies import text_in
from evergreet.contracts import CrmPage
from evergreet.errors import DataError, Misconfigured, Retryable

WAIT = timedelta(seconds=20)
OVER = frozenset({"Aborted", "Failed"})
READ: Mapping[str, Callable[[str], Any]] = {
    "boolean": lambda text: text == "true", "int": int, "double": float, "currency": float, "percent": float,
}  # fmt: skip
"""How fields are read by their type, as JSON has them; all others are texts."""


def begin_job(session: Session, settings: SalesforceSettings) -> CrmPage:
    """Ask for everything; the first page is empty."""
    found, now = session.ask("POST", "/jobs/query", {
        "operation": "queryAll", "query": select(settings), "columnDelimiter": "COMMA", "lineEnding": "LF",
    })  # fmt: skip
    job = found.get("id") if isinstance(found, dict) else None
    if not (isinstance(job, str) and is_id(job)):
        raise Retryable("Salesforce's answer cannot be read.")
    return CrmPage((), str(Place(job=job, began=written(now))), True)


def read_job(session: Session, settings: SalesforceSettings, place: Place) -> CrmPage:
    """Return the next page of a job's results; raises `Retryable` while there are none yet."""
    try:
        if not place.locator:
            _is_complete(session, place.job)
        query = {"maxRecords": str(PAGE), **({"locator": place.locator} if place.locator else {})}
        answered = session.fetch("GET", f"/jobs/query/{place.job}/results?{urlencode(query)}")
    except Misconfigured as fault:
        if "NOT_FOUND" not in fault.reason:
            raise
        raise DataError("Salesforce has forgotten the job that read everything: begin anew.") from None
    try:
        rows = list(csv.DictReader(io.StringIO(answered.content.decode(), newline="")))
    except (ValueError, csv.Error):
        rows = []
    if answered.headers.get("sforce-numberofrecords") != str(len(rows)):
        raise Retryable("Salesforce's answer was cut off.")
    kinds = {name: text_in(one, "type") for name, one in session.described().items()}
    records = [_record(row, kinds) for row in rows]
    following = answered.headers.get("sforce-locator", "null")
    more = following != "null"
    behind = replace(place, locator=following) if more else next_pull(place, settings)
    return page_of(session, settings, records, behind, more=more)


def _is_complete(session: Session, job: str) -> None:
    found, _ = session.ask("GET", f"/jobs/query/{job}")
    state = text_in(found, "state") if isinstance(found, dict) else ""
    if state in OVER:
        raise DataError(f"Salesforce did not read everything ({state}): begin anew, without EVERGREET_SALESFORCE_BULK.")
    if state != "JobComplete":
        raise Retryable("Salesforce is still reading everything.", retry_after=WAIT)


def _record(row: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    """Return a row as the REST API has it: empty is null, and fields of a parent stand in an object."""
    record: dict[str, Any] = {}
    for way, text in row.items():
        *parents, name = str(way).split(".")
        held = record
        for parent in parents:
            held = held.setdefault(parent, {})
        held[name] = _value(text, kinds.get(str(way), ""))
    return record


def _value(text: Any, kind: str) -> Any:
    if not isinstance(text, str) or not text:
        return None
    try:
        return READ.get(kind, str)(text)
    except ValueError:
        return None
