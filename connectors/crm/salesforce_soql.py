"""Questions in SOQL: values are literals, escaped as Salesforce documents it.

https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select_quotedstringescapes.htm
"""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

_ESCAPES = str.maketrans({
    "\\": "\\\\", "'": "\\'", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f",
})  # fmt: skip
_ID = re.compile(r"[a-zA-Z0-9]{15}(?:[a-zA-Z0-9]{3})?")


def quoted(text: str) -> str:
    """Return a text as a literal."""
    return f"'{text.translate(_ESCAPES)}'"


def written(at: datetime) -> str:
    """Return a time as a literal: Salesforce's have seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(value: Any) -> datetime | None:
    """Read a time of Salesforce's, `2026-03-10T12:00:00.000+0000`; None for anything else."""
    try:
        found = datetime.fromisoformat(value)
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, TypeError, OverflowError):
        return None


def is_id(value: Any) -> bool:
    """Return whether this is an id of Salesforce's."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def query(soql: str, *, deleted: bool = False) -> str:
    """Return the path that asks a question, of what was deleted or merged as well."""
    return f"/{'queryAll' if deleted else 'query'}/?{urlencode({'q': soql})}"
