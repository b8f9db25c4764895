"""What SendGrid makes of skeleton and substitutions is the message byte for byte, however it replaces."""

import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from connectors.email.sendgrid_payload import Tokens, pack
from connectors.email.sendgrid_settings import SendGridSettings
from evergreet.composing import surroundings_of
from evergreet.contracts import EmailMessage, Mailbox, Skeleton
from evergreet.preview import read_sample
from evergreet.rendering import MessageContext, Rendered, Renderer, RenderError, Surroundings
from evergreet.settings import Settings
from evergreet.template_sources import TemplateSource, load_template, template_names
from tests.connectors.email.letters import letter
from tests.connectors.email.sendgrid_sink import expand
from tests.connectors.email.splits import HELLO, crowd, split_letter
from tests.template_grammar import CONTEXT, SHARED, START, contexts, templates

SETTINGS = SendGridSettings.model_validate({"api_key": "x"})
SURROUNDINGS = Surroundings("Fernway", "Bristol", "https://f.example")
Algorithm = Callable[[str, Mapping[str, str]], str]


def backwards(part: str, substitutions: Mapping[str, str]) -> str:
    return expand(part, dict(reversed(list(substitutions.items()))))


def shuffled(part: str, substitutions: Mapping[str, str]) -> str:
    pairs = list(substitutions.items())
    random.Random(part).shuffle(pairs)
    return expand(part, dict(pairs))


def one_pass(part: str, substitutions: Mapping[str, str]) -> str:
    tags = "|".join(map(re.escape, sorted(substitutions, key=len, reverse=True)))
    return re.sub(tags, lambda found: substitutions[found[0]], part) if tags else part


def again_and_again(part: str, substitutions: Mapping[str, str]) -> str:
    for _ in range(4):
        part = expand(part, substitutions)
    return part


def one_by_one(part: str, substitutions: Mapping[str, str]) -> str:
    """The last occurrence first, each tag in turn, until there is none."""
    while found := max((tag for tag in substitutions if tag in part), key=part.rfind, default=""):
        place = part.rfind(found)
        part = part[:place] + substitutions[found] + part[place + len(found) :]
    return part


ALGORITHMS: list[Algorithm] = [expand, backwards, shuffled, one_pass, again_and_again, one_by_one]

_TAG = Tokens.of(HELLO).tag
_TOKEN = Tokens.of(HELLO).used[0][1]
_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_hostile = st.sampled_from(
    ["", "-", "--", _TAG, _TAG[:9], _TAG[9:], _TOKEN, _TOKEN[:-1], _TOKEN[1:], f"-{_TAG}", "00000-", "00001-", "0",
     f"{_TAG}00001-", "{{ x }}", "%name%", "[unsubscribe]", "<%body%>", "\\1", "$&", "\r\n", "\u2028", "𝔘"]
)  # fmt: skip
_values = st.tuples(*[st.lists(_texts | _hostile, max_size=3).map("".join)] * 3)
_parts = st.lists(st.integers(0, 2) | _texts | _hostile, max_size=8).map(tuple)


@st.composite
def batches(draw: st.DrawFn) -> list[EmailMessage]:
    # The skeleton keeps the key of HELLO, so that what is hostile to its tokens is known.
    subject = tuple(re.sub(r"[\r\n\0]", " ", p) if isinstance(p, str) else p for p in ("Hi ", *draw(_parts)))
    skeleton = Skeleton(HELLO.key, 3, subject, draw(_parts), draw(_parts))
    messages = []
    for number in range(draw(st.integers(2, 4))):
        message = split_letter(skeleton, draw(_values), f"1.{number}")
        if not re.search(r"[\r\n\0]", message.subject + message.to.name):
            messages.append(message)
    return messages


def assert_exact(batch: list[EmailMessage], settings: SendGridSettings = SETTINGS) -> int:
    """Expand the requests in every way there is; return how many messages shared a request."""
    requests, refused = pack(batch, settings)
    assert refused == {}
    wanted = {message.key: message for message in batch}
    seen: list[str] = []
    shared = 0
    for request in requests:
        body = json.loads(request.body())
        assert request.size == len(request.body())
        shared += len(request.recipients) if len(request.recipients) > 1 else 0
        parts = {part["type"]: part["value"] for part in body["content"]}
        for personal in body["personalizations"]:
            message = wanted[personal["custom_args"]["evergreet_key"]]
            seen.append(message.key)
            values = personal.get("substitutions", {})
            for replacing in ALGORITHMS:
                assert replacing(body["subject"], values) == message.subject
                assert replacing(parts.get("text/html", ""), values) == message.html
                assert replacing(parts.get("text/plain", ""), values) in {message.text, message.text or " "}
    assert sorted(seen) == sorted(wanted)
    return shared


@given(batches())
def test_every_way_of_replacing_gives_the_message(batch: list[EmailMessage]) -> None:
    assert_exact(batch)


@pytest.mark.parametrize(
    "value",
    [
        f"I am {_TOKEN}",
        _TAG,
        f"x{_TAG}",
    ],
)
def test_a_value_that_holds_a_token_goes_alone_and_the_others_together(value: str) -> None:
    batch = [*crowd(5), split_letter(HELLO, (value, "1"), "2.a")]
    assert assert_exact(batch) == 5


@pytest.mark.parametrize("cut", range(1, len(_TAG)))
def test_a_token_that_arises_across_a_border_sends_the_message_alone(cut: int) -> None:
    between = replace(HELLO, html=("<p>-", _TAG[:cut], 0, "00001-", 1))
    adjacent = replace(HELLO, html=("<p>", 0, 1, "</p>"))
    calm = [split_letter(between, (f"v{n}", "w"), f"1.{n}") for n in range(3)]
    assert assert_exact([*calm, split_letter(between, (_TAG[cut:], "w"), "2.a")]) == 3
    calm = [split_letter(adjacent, (f"v{n}", "w"), f"1.{n}") for n in range(3)]
    arising = split_letter(adjacent, (f"-{_TAG[:cut]}", f"{_TAG[cut:]}00000-"), "2.a")
    assert assert_exact([*calm, arising]) == 3


def test_a_token_in_a_header_or_a_name_sends_the_message_alone() -> None:
    batch = crowd(3)
    named = replace(crowd(4)[3], headers={"X-Data": _TOKEN})
    assert assert_exact([*batch, named]) == 3


def test_tokens_are_of_one_length_and_never_overlap() -> None:
    tokens = Tokens.of(replace(HELLO, slots=10_000, html=tuple(range(10_000)))).used
    written = [token for _, token in tokens]
    assert len(set(written)) == 10_000
    assert {len(token) for token in written} == {len(_TOKEN)}
    for shift in range(1, len(_TOKEN) - 1):
        assert not any(one[shift:] == two[: len(two) - shift] for one in written[:50] for two in written[:50])


def test_a_slot_without_text_around_it_and_an_empty_value_are_exact() -> None:
    bare = Skeleton("bare", 2, (0,), (0, 1, 0), (1,))
    batch = [split_letter(bare, values, f"1.{n}") for n, values in enumerate([("a", ""), ("b", "c"), ("d", "-")])]
    assert assert_exact(batch) == 3


def test_a_skeleton_without_slots_needs_no_substitutions() -> None:
    same = Skeleton("same", 0, ("News",), ("<p>News</p>",), ("News",))
    requests, _ = pack([split_letter(same, (), f"1.{n}") for n in range(3)], SETTINGS)
    (request,) = requests
    assert b"substitutions" not in request.body()
    assert len(request.recipients) == 3


# Jinja's own output


def as_message(rendered: Rendered, number: int, name: str = "") -> EmailMessage:
    return replace(
        letter(f"1.{number}", to=Mailbox(f"c{number}@customer.example", name)),
        subject=rendered.subject, html=rendered.html, text=rendered.text, split=rendered.split,
    )  # fmt: skip


def encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def jinjas_own(renderer: Renderer, contexts: list[MessageContext]) -> list[EmailMessage]:
    """What Jinja makes of the template by itself, with the split that the engine would hand over; no errors."""
    messages = []
    for number, context in enumerate(contexts):
        try:
            rendered, full = renderer.render(context), renderer.render_in_full(context)
        except RenderError:
            continue
        written = f"{full.subject}{full.html}{full.text}"
        if "0x" in written.casefold() or not encodable(written):  # an iterator shows its address
            continue
        assert (rendered.subject, rendered.html, rendered.text) == (full.subject, full.html, full.text)
        messages.append(as_message(replace(full, split=rendered.split), number))
    return messages


@pytest.mark.parametrize("name", template_names(Settings().templates))
def test_every_message_of_ours_arrives_as_jinja_renders_it(name: str) -> None:
    ours = Settings()
    sample = read_sample(ours.templates, name, ours)[0]
    source = load_template(ours.templates, name, purpose=sample.purpose)
    people = ["Maya", "Zoë", "<b>&'\"", _TOKEN, "{{ 7 * 7 }}", "", "Maya", "-"]
    contexts = [
        replace(
            sample, contact={**sample.contact, "id": number, "first_name": person},
            unsubscribe_url=sample.unsubscribe_url and f"{sample.unsubscribe_url}{number}",
        )
        for number, person in enumerate(people)
    ]  # fmt: skip
    assert_exact(jinjas_own(Renderer(source, surroundings_of(ours)), contexts))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(templates(), templates("text"), templates(), st.lists(contexts(), min_size=3, max_size=5))
def test_any_template_arrives_as_jinja_renders_it_also_for_who_is_called_like_a_token(
    body: str, subject: str, text: str, data: list[MessageContext]
) -> None:
    files = {"subject.txt": f"{START}S {{{{ {subject} }}}}", "body.html": START + body, "body.txt": START + text}
    sources = {**{f"m/{name}": source for name, source in files.items()}, **SHARED}
    try:
        renderer = Renderer(TemplateSource("m", "0" * 64, sources), SURROUNDINGS)
    except RenderError:  # not a template
        assume(False)
    splits = [message.split for message in jinjas_own(renderer, data * 2) if message.split is not None]
    for tokens in {split.skeleton.key: Tokens.of(split.skeleton) for split in splits}.values():
        names = {"a": "".join(token for _, token in tokens.used[:1]), "b": f"-{tokens.tag[:9]}"}
        data = [*data, replace(data[0], contact={**data[0].contact, **names})]
    assert_exact(jinjas_own(renderer, data * 2))


def test_a_template_that_can_be_split_travels_in_one_request() -> None:
    sources = {
        "m/subject.txt": "Hi {{ contact.first_name|title }}",
        "m/body.html": "<p>{{ contact.first_name }}, you paid {{ event.amount }}</p>",
        "m/body.txt": "{{ contact.first_name }}, you paid {{ event.amount }}",
    }
    renderer = Renderer(TemplateSource("m", "0" * 64, sources), SURROUNDINGS)
    contexts = [replace(CONTEXT, contact={"first_name": f"maya <{n}>"}, event={"amount": n}) for n in range(20)]
    assert assert_exact(jinjas_own(renderer, contexts)) >= 15, "all but the first few, from which it is learnt"
