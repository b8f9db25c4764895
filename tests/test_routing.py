"""Routes: what the setting says, and who is asked first for a message."""

from collections import Counter
from hashlib import blake2b

import pytest

from evergreet.errors import ConfigurationError
from evergreet.routing import Named, Provider, Route, read_route
from evergreet.sending import connectors_in_use, opened_senders
from evergreet.settings import settings
from tests.story import Recorder


def keys(count: int) -> list[str]:
    return [blake2b(str(number).encode(), digest_size=16).hexdigest() for number in range(count)]


def route(*weights: int | None) -> Route:
    return Route(tuple(Provider(Recorder(), weight) for weight in weights))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("outbox", (Named("outbox"),)),
        (" sendgrid,ses ", (Named("sendgrid"), Named("ses"))),
        ("sendgrid 80, ses  20,smtp", (Named("sendgrid", 80), Named("ses", 20), Named("smtp"))),
    ],
)
def test_a_list_is_read_in_its_order(written: str, meant: tuple[Named, ...]) -> None:
    assert read_route(written) == meant


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("sendgrid,, ses", "is no list of connectors"),
        ("sendgrid 80 20", "is no list of connectors"),
        ("sendgrid, ses, sendgrid", "'sendgrid' is named twice"),
        ("sendgrid 0, ses 20", "the weight of 'sendgrid' is '0'; write a whole number"),
        ("sendgrid 80%, ses 20%", "the weight of 'sendgrid' is '80%'"),
        ("sendgrid ٣, ses", "the weight of 'sendgrid'"),
        ("sendgrid, ses 20", "'sendgrid' has no weight and 'ses' behind it has one"),
    ],
)
def test_what_is_no_list_is_a_sentence_that_names_the_setting(
    written: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREET_SMS", written)
    with pytest.raises(ConfigurationError, match="EVERGREET_SMS") as told:
        settings()
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("outbox, nowhere", "There is no connector 'nowhere'; installed are: "),
        ("outbox, stripe", "EVERGREET_EMAIL=outbox, stripe: the connector 'stripe' does not send email."),
    ],
)
def test_a_name_that_sends_nothing_is_a_sentence(written: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREET_EMAIL", written)
    monkeypatch.setenv("EVERGREET_STRIPE_WEBHOOK_SECRET", "whsec_c2VjcmV0")
    assert [one.name for one in connectors_in_use()["email"]] == written.split(", ")
    with pytest.raises(ConfigurationError) as told, opened_senders():
        pass
    assert str(told.value).startswith(said)


def test_without_weights_the_first_is_asked_and_the_others_stand_by() -> None:
    plain = route(None, None, None)
    assert all(plain.order(key) == plain.providers for key in keys(20))


def test_messages_are_shared_by_weight_and_each_goes_the_same_way_every_time() -> None:
    weighted = route(80, 20, None)
    orders = [[one.weight for one in weighted.order(key)] for key in keys(2000)]
    assert {tuple(order) for order in orders} == {(80, 20, None), (20, 80, None)}
    assert 1520 < Counter(order[0] for order in orders)[80] < 1680
    assert orders == [[one.weight for one in route(80, 20, None).order(key)] for key in keys(2000)]
