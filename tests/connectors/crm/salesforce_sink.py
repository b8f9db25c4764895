"""A local Salesforce for tests: it signs apps in, answers SOQL from an SQL database, and keeps what is written.

Rules that stand only in prose: 2,000 records in an answer, 200 in a collection, URLs of 16,000 characters.
"""

import csv
import io
import json
import re
import sqlite3
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from evergreet.contracts import CrmConsent, CrmLastMessage, CrmNote, CrmRecord, CrmStage, CrmTask, Push
from tests.connectors.provider_sink import ProviderSink, Told

Judge = Callable[[str, str, Any], Told | None]
START = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
LITERAL = re.compile(r"'((?:\\.|[^'\\])*)'|\b(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\b|\b(\w+\.\w+)\b")
TYPES = {"IsDeleted": "boolean", "HasOptedOutOfEmail": "boolean", "Orders__c": "double"}
UNESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
CUSTOM = ("Evergreet_Stage__c", "Evergreet_Last_Message__c", "Evergreet_Last_Message_At__c", "News__c")
COLUMNS = (
    "Id", "SystemModstamp", "IsDeleted", "MasterRecordId", "Email", "HasOptedOutOfEmail", "CreatedDate", "FirstName",
    "LastName", "Phone", "Account.Name", "Orders__c", *CUSTOM,
)  # fmt: skip


def name_of(number: int) -> str:
    return f"003{number:015d}"


def error(status: int, code: str, message: str = "x") -> Told:
    return Told(status, [{"message": message, "errorCode": code, "fields": []}])


@dataclass(eq=False)
class SalesforceSink(ProviderSink):
    """Serves at `url` the app with that id and secret; `judge` may answer before anything is looked at."""

    origin = "https://acme.my.salesforce.com"
    client_id: str
    client_secret: str
    certificate: RSAPublicKey | None = None
    user: str = "robot@acme.example"
    audience: str = "https://login.salesforce.com"
    judge: Judge = lambda method, path, content: None
    contacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    signed_in: int = 0
    door: Told | None = None
    batch: int = 2000
    refusals: dict[str, str] = field(default_factory=dict)
    locked: set[str] = field(default_factory=set)
    jobs: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.now = START

    def forget(self) -> None:
        """Begin anew, for another test."""
        for one in fields(self):
            if one.default_factory is not MISSING:
                setattr(self, one.name, one.default_factory())
            elif one.name not in {"specs", "client_id", "client_secret", "token"}:
                setattr(self, one.name, one.default)
        self.faults, self.now = [], START

    # What happens in Salesforce

    def add(self, number: int, email: str | None = None, at: datetime | None = None, **fields: Any) -> None:
        at = at or self._tick()
        self.contacts[name_of(number)] = {
            **dict.fromkeys(COLUMNS), "Id": name_of(number), "Email": email, "SystemModstamp": at, "CreatedDate": at,
            "IsDeleted": False, "HasOptedOutOfEmail": False, **fields,
        }  # fmt: skip

    def change(self, number: int, **fields: Any) -> None:
        self.contacts[name_of(number)] |= {**fields, "SystemModstamp": self._tick()}

    def _tick(self) -> datetime:
        assert self.now is not None
        self.now += timedelta(seconds=1)
        return self.now

    def arrived(self) -> list[Push]:
        """Tell what was written, as what it means."""
        pushes: list[Push] = []
        records = {name: CrmRecord(name, str(contact["Email"])) for name, contact in self.contacts.items()}
        for name, contact in self.contacts.items():
            if contact["Evergreet_Stage__c"]:
                pushes.append(CrmStage(records[name], contact["Evergreet_Stage__c"], START))
            if contact["Evergreet_Last_Message__c"]:
                pushes.append(CrmLastMessage(records[name], contact["Evergreet_Last_Message__c"], START))
            if contact["News__c"] is not None:
                pushes.append(CrmConsent(records[name], contact["News__c"], START, "news"))
            if contact["HasOptedOutOfEmail"]:
                pushes.append(CrmConsent(records[name], False, START))
        for task in self.tasks:
            kind = CrmNote if task["Status"] == "Completed" else CrmTask
            pushes.append(kind(records[task["WhoId"]], "", task["Subject"], task["Description"], START))
        return pushes

    # What is asked

    def take(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Told:
        """Answer one request."""
        if len(path) > 16_000:
            self.faults.append(f"a URL of {len(path)}")
        where = urlsplit(path)
        if (method, where.path) == ("POST", "/services/oauth2/token"):
            return self.door or self._sign_in(headers, content)
        body: Any = json.loads(content) if content else None
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return error(401, "INVALID_SESSION_ID", "Session expired or invalid")
        self.asked.append((method, path, body))
        if told := self.judge(method, path, body):
            return told
        match method, where.path.removeprefix("/services/data/v62.0/").strip("/").split("/"):
            case "GET", ["query" | "queryAll" as kind]:
                return self._query(parse_qs(where.query)["q"][0], kind)
            case "GET", ["query" | "queryAll" as kind, locator]:
                question, start = bytes.fromhex(locator).decode().rsplit("@", 1)
                return self._query(question, kind, int(start))
            case _, ["jobs", "query", *rest]:
                return self._job(rest, body, parse_qs(where.query))
            case "GET", ["sobjects", "Contact", "describe"]:
                fields = [
                    {"name": name, "updateable": name not in self.locked, "type": TYPES.get(name, "string")}
                    for name in COLUMNS
                ]
                return Told(200, {"name": "Contact", "fields": fields})
            case "PATCH", ["composite", "sobjects"]:
                return self._each(body, self._update)
            case "POST", ["composite", "sobjects"]:
                return self._each(body, lambda record: self._make(record, ""))
            case "PATCH", ["composite", "sobjects", "Task", key]:
                return self._each(body, lambda record: self._make(record, key))
        return error(404, "NOT_FOUND", "The requested resource does not exist")

    def _sign_in(self, headers: dict[str, str], content: bytes) -> Told:
        form = {name: values[0] for name, values in parse_qs(content.decode()).items()}
        if headers.get("content-type") != "application/x-www-form-urlencoded":
            self.faults.append(f"a form as {headers.get('content-type')}")
        if form.keys() == {"grant_type", "assertion"}:
            told = self._asserted(form["grant_type"], form["assertion"], headers)
            return told or self._let_in()
        if form != {"grant_type": "client_credentials"}:
            return Told(400, {"error": "unsupported_grant_type", "error_description": "grant type not supported"})
        shown = b64decode(headers.get("authorization", "").removeprefix("Basic ")).decode()
        if shown != f"{self.client_id}:{self.client_secret}":
            return Told(400, {"error": "invalid_client", "error_description": "invalid client credentials"})
        return self._let_in()

    def _asserted(self, grant: str, assertion: str, headers: dict[str, str]) -> Told | None:
        """Judge a JWT (RFC 7515, RFC 7523) by the app's certificate; None where it is good."""
        signed, _, signature = assertion.rpartition(".")
        header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
        if grant != "urn:ietf:params:oauth:grant-type:jwt-bearer" or "authorization" in headers:
            self.faults.append(f"a JWT as {grant}, with {headers}")
        if header["alg"] != "RS256" or set(claims) != {"iss", "sub", "aud", "exp"}:
            self.faults.append(f"a JWT of {header}, {claims}")
        wrong = None
        try:
            assert self.certificate is not None
            self.certificate.verify(_decoded(signature), signed.encode(), PKCS1v15(), SHA256())
        except InvalidSignature:
            wrong = ("invalid_grant", "invalid assertion")
        assert self.now is not None
        left = int(claims["exp"]) - self.now.timestamp()
        if claims["iss"] != self.client_id:
            wrong = ("invalid_client_id", "client identifier invalid")
        elif claims["sub"] != self.user:
            wrong = ("invalid_grant", "user hasn't approved this consumer")
        elif claims["aud"] != self.audience:
            wrong = ("invalid_grant", "audience is invalid")
        elif not 0 < left <= 180:
            wrong = ("invalid_grant", "assertion expired or too long")
        return wrong and Told(400, {"error": wrong[0], "error_description": wrong[1]})

    def _let_in(self) -> Told:
        self.signed_in += 1
        token = f"00D!token.{self.signed_in}"
        self.tokens = {token}
        return Told(200, {"access_token": token, "instance_url": self.url, "token_type": "Bearer", "id": "x"})

    def _query(self, soql: str, kind: str, start: int = 0) -> Told:
        found = self._found(soql, kind)
        if isinstance(found, Told):
            return found
        page = [_shown(row) for row in found[start : start + min(self.batch, 2000)]]
        if start + len(page) == len(found):
            return Told(200, {"totalSize": len(found), "done": True, "records": page})
        locator = f"{soql}@{start + len(page)}".encode().hex()
        return Told(200, {"totalSize": len(found), "done": False, "records": page,
                          "nextRecordsUrl": f"/services/data/v62.0/{kind}/{locator}"})  # fmt: skip

    def _job(self, rest: list[str], body: Any, query: dict[str, list[str]]) -> Told:
        if not rest:
            self.jobs.append(body["query"])
            return Told(200, {"id": f"750{len(self.jobs) - 1:015d}", "state": "UploadComplete"})
        number = int(rest[0][3:])
        if number >= len(self.jobs):
            return error(404, "NOT_FOUND")
        if len(rest) > 1:
            return self._results(self.jobs[number], query)
        return Told(200, {"id": rest[0], "state": self.states.pop(0) if self.states else "JobComplete"})

    def _results(self, soql: str, query: dict[str, list[str]]) -> Told:
        found = self._found(soql, "queryAll")
        assert isinstance(found, list)
        start = int(query.get("locator", ["0"])[0])
        page = found[start : start + int(query["maxRecords"][0])]
        text = io.StringIO()
        rows = csv.DictWriter(text, found[0], lineterminator="\n", quoting=csv.QUOTE_ALL)
        rows.writeheader()
        rows.writerows({name: _in_csv(name, value) for name, value in row.items()} for row in page)
        following = start + len(page)
        headers = {
            "Content-Type": "text/csv", "Sforce-NumberOfRecords": str(len(page)),
            "Sforce-Locator": str(following) if following < len(found) else "null",
        }  # fmt: skip
        return Told(200, text.getvalue().encode(), headers)

    def _found(self, soql: str, kind: str) -> list[dict[str, Any]] | Told:
        """Ask the SQL database."""

        def literal(found: re.Match[str]) -> str:
            if found[3]:
                return f'"{found[3]}"'
            text = (
                re.sub(r"\\(.)", lambda one: UNESCAPED.get(one[1], one[1]), found[1] or "")
                if found[1] is not None
                else found[2]
            )
            return "'" + text.replace("'", "''") + "'"

        sql = LITERAL.sub(literal, soql)
        database = sqlite3.connect(":memory:")
        columns = ", ".join(f'"{name}"' + (" COLLATE NOCASE" if name == "Email" else "") for name in COLUMNS)
        database.execute(f"CREATE TABLE Contact ({columns})")
        rows = [
            tuple(_stored(contact[name]) for name in COLUMNS)
            for contact in self.contacts.values() if kind == "queryAll" or not contact["IsDeleted"]
        ]  # fmt: skip
        database.executemany(f"INSERT INTO Contact VALUES ({', '.join('?' * len(COLUMNS))})", rows)
        try:
            cursor = database.execute(sql)
        except sqlite3.OperationalError as problem:
            return error(400, "INVALID_FIELD" if "no such column" in str(problem) else "MALFORMED_QUERY", str(problem))
        names = [column[0] for column in cursor.description]
        found = [dict(zip(names, row, strict=True)) for row in cursor]
        database.close()
        return found

    def _each(self, body: dict[str, Any], do: Callable[[dict[str, Any]], str | dict[str, Any]]) -> Told:
        if not 1 <= len(body["records"]) <= 200 or body["allOrNone"] is not False:
            self.faults.append(f"a collection of {len(body['records'])}")
        results = []
        for record in body["records"]:
            code = do({name: value for name, value in record.items() if name != "attributes"})
            if isinstance(code, str):
                wrong = [{"statusCode": code, "message": "about ada@customer.example", "fields": []}]
                results.append({"success": False, "errors": wrong})
            else:
                results.append({"success": True, "errors": [], **code})
        return Told(200, results)

    def _update(self, record: dict[str, Any]) -> str | dict[str, Any]:
        contact = self.contacts.get(record["Id"])
        if contact is None or contact["IsDeleted"]:
            return "ENTITY_IS_DELETED" if contact else "INVALID_CROSS_REFERENCE_KEY"
        if code := next((self.refusals[str(value)] for value in record.values() if str(value) in self.refusals), None):
            return code
        contact |= {**record, "SystemModstamp": self._tick()}
        return {"id": record["Id"]}

    def _make(self, record: dict[str, Any], key: str) -> str | dict[str, Any]:
        if record["WhoId"] not in self.contacts:
            return "INVALID_CROSS_REFERENCE_KEY"
        if key:
            for place, task in enumerate(self.tasks):
                if task[key] == record[key]:
                    self.tasks[place] = record
                    return {"id": f"00T{place:015d}", "created": False}
        self.tasks.append(record)
        return {"id": f"00T{len(self.tasks) - 1:015d}", **({"created": True} if key else {})}


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _in_csv(name: str, value: Any) -> Any:
    if name in {"SystemModstamp", "CreatedDate"}:
        return value.replace("Z", ".000Z")
    return ("false", "true")[value] if TYPES.get(name) == "boolean" else value


def _stored(value: Any) -> Any:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else value


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "attributes": {"type": "Contact", "url": f"/services/data/v62.0/sobjects/Contact/{row['Id']}"}
    }
    for name, value in row.items():
        if name in {"SystemModstamp", "CreatedDate"}:
            shown[name] = value.replace("Z", ".000+0000")
        elif name in {"IsDeleted", "HasOptedOutOfEmail"}:
            shown[name] = bool(value)
        elif "." in name:
            parent, child = name.split(".")
            shown[parent] = {"attributes": {"type": parent}, child: value} if value is not None else None
        else:
            shown[name] = value
    return shown
