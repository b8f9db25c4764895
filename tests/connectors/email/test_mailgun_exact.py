"""However Mailgun goes about its variables, each message comes out byte for byte, or it went alone."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.email.mailgun_payload import pack
from connectors.email.mailgun_settings import MailgunSettings
from connectors.email.mailgun_variables import WORDS, Tokens
from evergreet.contracts import EmailMessage, Mailbox, Skeleton
from evergreet.errors import Permanent
from tests.connectors.email.mailgun_sink import taken_apart
from tests.connectors.email.splits import HELLO, split_letter

SETTINGS = MailgunSettings.model_validate({"api_key": "k", "domain": "mg.fernway.example"})
Values = Mapping[str, str]


def one_pass(text: str, values: Values) -> str:
    return re.sub(r"%recipient\.([^%]+)%", lambda found: values.get(found[1], ""), text, flags=re.IGNORECASE)


def one_by_one(text: str, values: Values) -> str:
    for name, value in values.items():
        text = text.replace(f"%recipient.{name}%", value)
    return text


def backwards(text: str, values: Values) -> str:
    return one_by_one(text, dict(reversed(list(values.items()))))


def again_and_again(text: str, values: Values) -> str:
    for _ in range(5):
        text = one_pass(text, values)
    return text


def drops_what_begins_so(text: str, values: Values) -> str:
    """It takes any word that begins as a variable for one, as those of mailing lists."""
    return re.sub(r"%recipient[._a-z]*([^%\s]*)%?", "", one_by_one(text, values), flags=re.IGNORECASE)


def escaping(text: str, values: Values) -> str:
    escaped = {n: re.sub("[&<>\"']", "!", json.dumps(v, ensure_ascii=False)[1:-1]).strip() for n, v in values.items()}
    return one_pass(text, escaped)


def own_words_first(text: str, values: Values) -> str:
    return one_pass(WORDS.sub("https://mailgun.example/u", text), values)


ALGORITHMS: list[Callable[[str, Values], str]] = [
    one_pass, one_by_one, backwards, again_and_again, drops_what_begins_so, escaping,
    own_words_first,
]  # fmt: skip

_TAG = Tokens.of(HELLO).tag
_NAME = f"recipient.{_TAG}_1"
_texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
_calm = st.sampled_from(["Anna", "Zoë", "5 €", "山田", "2026-03-10"])
_hostile = st.sampled_from(
    ["", "%", "%%", "100%", "%re", "recip", "ient.", "%recipient", "%recipient%", "%RECIPIENT.x%", f"%{_NAME}%", _NAME,
     f"{_NAME}%", f"%{_NAME}", _TAG, _TAG[:8], _TAG[8:], "_1%", "unsubscribe_url", "&amp;", "<b>", "\\", " ", "\n",
     "%unsub", "recipient"]
)  # fmt: skip
_values = st.tuples(*[st.one_of(_calm, st.lists(_calm | _texts | _hostile, max_size=3).map("".join))] * 3)
_parts = st.lists(st.integers(0, 2) | _calm | _texts | _hostile, max_size=7).map(tuple)
_headers = st.sampled_from(["<https://a.example/u/1>", "<https://a.example/u/2>", "%recipient.x%", "a, b", "<a>, <b>"])


@st.composite
def batches(draw: st.DrawFn) -> list[EmailMessage]:
    subject = tuple(re.sub(r"\s+", " ", p) if isinstance(p, str) else p for p in ("Hi ", *draw(_parts)))
    skeleton = Skeleton(HELLO.key, 3, subject, draw(_parts), draw(_parts))
    messages = []
    for number in range(draw(st.integers(2, 4))):
        message = split_letter(skeleton, draw(_values), f"1.{number}")
        message = replace(message, to=Mailbox(message.to.address, "A"), headers={"List-Unsubscribe": draw(_headers)})
        if not re.search(r"[\r\n\0]", message.subject):
            messages.append(message)
    return messages


def assert_exact(batch: list[EmailMessage]) -> int:
    """Fill the forms in every way there is; return how many messages shared one."""
    requests, refused = pack(batch, SETTINGS)
    for place, outcome in refused.items():
        assert isinstance(outcome, Permanent)
        assert any(WORDS.search(part) for part in (batch[place].subject, batch[place].html, batch[place].text))
    seen: list[int] = []
    shared = 0
    for request in requests:
        body, kind = request.form()
        form = taken_apart({"content-type": kind}, body)
        variables = json.loads(form.get("recipient-variables", ["{}"])[0])
        shared += len(variables)
        for recipient in request.recipients:
            message = batch[recipient.place]
            seen.append(recipient.place)
            own = variables.get(recipient.address)
            for replacing in ALGORITHMS if own is not None else [lambda text, values: text]:
                got = {name: replacing(values[0], own or {}) for name, values in form.items()}
                assert got["subject"] == message.subject or not message.subject
                assert got.get("html", "") == message.html
                assert got.get("text", "").strip(" ") == message.text.strip(" ")
                assert got["v:evergreet_key"] == message.key
                assert {name: got[f"h:{name}"] for name in message.headers} == message.headers
    assert sorted([*seen, *refused]) == list(range(len(batch)))
    return shared


@given(batches())
def test_every_way_of_replacing_gives_the_message(batch: list[EmailMessage]) -> None:
    assert_exact(batch)


def calm(count: int = 3, skeleton: Skeleton = HELLO) -> list[EmailMessage]:
    return [split_letter(skeleton, (f"Person {n}", f"{n} €"), f"1.{n}") for n in range(count)]


@pytest.mark.parametrize(
    "value",
    ["10 %", "&", "a\nb", "it's", 'say "x"', "\\u0026", "", " a", _TAG, "the Recipient", "%recipient.x%", "\x85"],
)
def test_a_value_that_could_be_changed_or_mistaken_goes_alone_and_the_others_together(value: str) -> None:
    assert assert_exact([*calm(), split_letter(HELLO, ("Anna", value), "2.a")]) == 3


@pytest.mark.parametrize("address", ["a+b@customer.example", "Ann@customer.example", "o'neill@customer.example"])
def test_an_address_that_variables_may_miss_goes_alone(address: str) -> None:
    assert assert_exact([*calm(), split_letter(HELLO, ("Anna", "5"), "2.a", address)]) == 3


@pytest.mark.parametrize(
    ("html", "together"),
    [
        (('<td width="100%">', 0, "</td>"), 3),
        (("100% ", 0, " %"), 3),
        (("100%", 0), 0),
        (("%re", 0, "."), 0),
        (("%recipient.name% ", 0), 0),
        ((0, "recipient.x% "), 0),
        ((0, "unsubscribe_url% "), 0),
        ((0, "tag_unsubscribe_url% "), 0),
        (("%unsubscribe_url", 0), 0),
        (("50 % unsubscribe_url ", 0), 3),
        ((0, 1), 3),
        (("to the recipient: ", 0, " ", 1), 3),
    ],
)
def test_a_skeleton_shares_a_form_where_no_text_of_it_could_be_a_part_of_a_variable(
    html: tuple[str | int, ...], together: int
) -> None:
    assert assert_exact(calm(skeleton=replace(HELLO, html=html))) == together


def test_a_word_that_arises_where_two_slots_touch_sends_the_message_alone() -> None:
    touching = replace(HELLO, slots=3, html=(0, 1, 2, "% off"))
    own = [split_letter(touching, ("a", f"b{n}", "c"), f"1.{n}") for n in range(3)]
    split_words = [("a", "reci", "pient.x"), ("a", "unsub", "scribe_url"), ("a", _TAG[:9], _TAG[9:])]
    assert assert_exact([*own, *(split_letter(touching, words, f"2.{n}") for n, words in enumerate(split_words))]) == 3


def test_headers_of_one_shape_travel_as_variables_and_others_only_where_they_are_equal() -> None:
    def with_header(value: str, key: str) -> EmailMessage:
        return replace(split_letter(HELLO, ("Anna", "5"), key), headers={"List-Unsubscribe": value})

    own = [with_header(f"<https://a.example/u/{n}>", f"1.{n}") for n in range(3)]
    same = [with_header("<https://a.example/>, <mailto:u@a.example>", f"2.{n}") for n in range(2)]
    assert assert_exact([*own, *same, with_header("<https://a.example/?a&b>", "3.a")]) == 5
    assert assert_exact([with_header("%recipient%", f"4.{n}") for n in range(2)]) == 0
