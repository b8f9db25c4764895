"""Whoever SendGrid refuses, and however it says so: the others go, nobody goes twice, and a doubt ends the batch."""

import json
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.brake import Brake
from connectors.calling import Answered
from connectors.email.sendgrid_answers import Answer, understand
from connectors.email.sendgrid_delivery import Delivery
from connectors.email.sendgrid_payload import Request, pack, pack_whole
from connectors.email.sendgrid_settings import SendGridSettings
from evergreet.contracts import Accepted, EmailMessage, Outcome
from evergreet.errors import Misconfigured, Permanent, Retryable
from tests.connectors.email.letters import letter
from tests.connectors.email.sendgrid_sink import errors
from tests.connectors.email.splits import crowd

SETTINGS = SendGridSettings.model_validate({"api_key": "x"})
FAULTS = {
    "address": ("to.0.email", "Does not contain a valid address."),
    "header": ("headers", "Header cannot be one of the reserved keys."),
    "heavy": ("substitutions", "Substitutions are limited to 10000 bytes per personalization block."),
}
NO, MAYBE, OURS = Retryable("later"), Retryable("who knows", accepted="maybe"), Misconfigured("401")


class Provider:
    """Takes a request unless somebody in it is at fault: `faults` by key; `says` how much it tells of whom."""

    def __init__(self, faults: dict[str, str], says: str, trouble: tuple[int, Answer] | None) -> None:
        self.faults, self.says, self.trouble = faults, says, trouble
        self.asked: list[list[str]] = []
        self.mailed: Counter[str] = Counter()

    def ask(self, request: Request) -> Answer:
        people: list[dict[str, Any]] = json.loads(request.body())["personalizations"]
        keys = [personal["custom_args"]["evergreet_key"] for personal in people]
        self.asked.append(keys)
        if self.trouble is not None and len(self.asked) == self.trouble[0]:
            return self.trouble[1]
        wrong = [
            (place, fault)
            for place, key in enumerate(keys)
            if (fault := self.faults.get(key)) is not None and (fault != "heavy" or "substitutions" in people[place])
        ]
        if not wrong:
            self.mailed.update(keys)
            return understand(Answered(202, {}, b""), recipients=len(keys), sandbox=False, secret="x")
        told: list[tuple[str | None, str]] = [(None, "Bad Request")]
        if self.says != "nobody":
            told = [(f"personalizations.{place}.{FAULTS[fault][0]}", FAULTS[fault][1]) for place, fault in wrong]
        if self.says == "first":
            told = told[:1]
        content = json.dumps(errors(*told).content).encode()
        return understand(Answered(400, {}, content), recipients=len(keys), sandbox=False, secret="x")


def deliver(batch: list[EmailMessage], provider: Provider) -> dict[str, Outcome]:
    requests, outcomes = pack(batch, SETTINGS)
    brake = Brake("SendGrid", 1.0, lambda: 0.0)

    def whole(position: int) -> Request | None:
        return pack_whole(position, batch[position], SETTINGS)

    Delivery(provider.ask, whole, [message.key for message in batch], outcomes, brake).work(requests)
    assert sorted(outcomes) == list(range(len(batch))), "everybody has an outcome"
    return {message.key: outcomes[position] for position, message in enumerate(batch)}


_batches = st.builds(
    lambda together, alone: [*crowd(together), *(letter(f"2.{n}") for n in range(alone))],
    st.integers(0, 40), st.integers(0, 2),
)  # fmt: skip


@st.composite
def wrong(draw: st.DrawFn, batch: list[EmailMessage]) -> dict[str, str]:
    keys = [message.key for message in batch]
    some = st.lists(st.sampled_from(keys), unique=True, max_size=5) if keys else st.just([])
    found = draw(some)
    return {key: draw(st.sampled_from([*FAULTS])) for key in found}


@settings(max_examples=60, deadline=None)
@given(st.data(), _batches, st.sampled_from(["all", "first", "nobody"]))
def test_the_good_ones_go_once_and_the_others_have_their_reason(
    data: st.DataObject, batch: list[EmailMessage], says: str
) -> None:
    faults = data.draw(wrong(batch))
    provider = Provider(faults, says, None)
    outcomes = deliver(batch, provider)
    for key, outcome in outcomes.items():
        fault = faults.get(key)
        if isinstance(outcome, Misconfigured):  # three or more were refused in the same words
            assert sum(1 for one in faults.values() if one != "heavy") >= 3
            assert provider.mailed[key] == 0
        elif fault in {"address", "header"}:
            assert isinstance(outcome, Permanent), outcome
            assert outcome.address_invalid == (fault == "address" and says != "nobody")
            assert provider.mailed[key] == 0
        else:
            assert isinstance(outcome, Accepted), outcome
            assert provider.mailed[key] == 1


@settings(max_examples=40, deadline=None)
@given(
    st.data(), _batches, st.sampled_from(["all", "first", "nobody"]), st.integers(1, 8),
    st.sampled_from([NO, MAYBE, OURS]),
)  # fmt: skip
def test_after_an_answer_that_stands_for_everybody_nobody_is_asked_for(
    data: st.DataObject, batch: list[EmailMessage], says: str, at: int, answer: Retryable | Misconfigured
) -> None:
    provider = Provider(data.draw(wrong(batch)), says, (at, answer))
    outcomes = deliver(batch, provider)
    assert len(provider.asked) <= at
    in_doubt = set(provider.asked[at - 1]) if len(provider.asked) == at and answer is MAYBE else set()
    assert {key for key, one in outcomes.items() if isinstance(one, Retryable) and one.accepted == "maybe"} == in_doubt
    assert {key for key, one in outcomes.items() if isinstance(one, Accepted)} == set(provider.mailed)
    assert max(provider.mailed.values(), default=1) == 1
