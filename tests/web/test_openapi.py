"""Every route by its own description, with whatever fits it and with what does not: never a 5xx."""

from itertools import count
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as bounds
from pydantic import SecretStr
from schemathesis.core.result import Ok

from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.ingest.messages import CALLS
from evergreet.settings import Settings
from evergreet.tokens import Tokens
from evergreet.web.app import create_app
from evergreet.web.ingest import BATCHES
from tests.web.conftest import KEY

WRITE_KEY = "the-key-of-a-fuzzer"
EXAMPLES = 6
"""For each route, and the same ones each time."""


@pytest.mark.filterwarnings("ignore:Duplicate Operation ID")  # a page that is asked for by GET and by HEAD
def test_no_request_that_fits_a_route_or_nearly_does_ends_in_a_server_error(
    database: Database, clock: FrozenClock, maya: int
) -> None:
    token = Tokens([KEY]).sign_unsubscribe(maya, "orders")
    app = create_app(database, Settings(secret_keys=(SecretStr(KEY),), write_keys=(SecretStr(WRITE_KEY),)), clock)
    schema = schemathesis.openapi.from_dict(app.openapi())
    schema.app = app
    answered: dict[str, set[int]] = {}
    turns = count()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()

        @given(case=operation.as_strategy())
        @bounds(
            max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def ask(case: Any) -> None:
            if "token" in case.path_parameters and next(turns) % 2:
                case.path_parameters["token"] = token
            answer = case.call(auth=(WRITE_KEY, ""))
            answered.setdefault(case.operation.label, set()).add(int(answer.status_code))
            assert answer.status_code < 500, answer.text

        ask()
    posts = [codes for route, codes in answered.items() if "/v1/" in route]
    assert len(posts) == len((*CALLS, *BATCHES))
    assert all(200 in codes for codes in posts), answered
    assert any(400 in codes for codes in posts), answered
    assert answered["GET /u/{token}"] == {200, 404}
