"""What is kept of a template gives the bytes that Jinja gives: for any template and any data, or the same error."""

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from evergreet import splitting
from evergreet.campaign import Purpose
from evergreet.composing import surroundings_of
from evergreet.contracts import EmailMessage, Mailbox
from evergreet.preview import read_sample
from evergreet.rendering import MessageContext, Renderer, RenderError, Surroundings, TemplateSource, kind_of
from evergreet.settings import Settings
from evergreet.splitting import filled
from evergreet.template_sources import load_template, template_names
from tests.template_grammar import CONTEXT, SHARED, START, contexts, templates

SURROUNDINGS = Surroundings("Fernway & Co", "14 Mill Lane, Bristol", "https://www.fernway.example")


def renderer(body: str = "<p>Hello</p>", subject: str = "Hello", text: str | None = "Hello", **more: str) -> Renderer:
    files = {"m/subject.txt": subject, "m/body.html": body, **more}
    if text is not None:
        files["m/body.txt"] = text
    return Renderer(TemplateSource("m", "hash", files), SURROUNDINGS)


def short_way(made: Renderer, context: MessageContext) -> tuple[str, ...] | None:
    """The three parts of a message as a connector reads them that was composed without joining them."""
    kind = kind_of(context.purpose, context.campaign, context.step, context.topic, context.options)
    known = made.split(kind, tuple(getattr(context, name) for name in splitting.INPUTS))
    if known is None:
        return None
    subject, split = known
    message = EmailMessage.of_split(
        split, key="1", to=Mailbox("a@b.example"), sender=Mailbox("c@d.example"), subject=subject,
        date=context.occurred_at, headers={},
    )  # fmt: skip
    joined = EmailMessage(
        message.key, message.to, message.sender, message.subject, message.html, message.text, message.date, split=split
    )
    assert message == joined == replace(message, template="")
    return message.subject, message.html, message.text


def outcome(made: Renderer, context: MessageContext, *, in_full: bool = False) -> tuple[str, ...]:
    """The three parts, or the error; a split must say the same as the parts."""
    try:
        rendered = made.render_in_full(context) if in_full else made.render(context)
    except RenderError as error:
        return (str(error),)
    parts = (rendered.subject, rendered.html, rendered.text)
    if rendered.split is not None:
        assert filled(rendered.split) == parts
        assert {type(value) for value in rendered.split.values} <= {str}
        assert len(rendered.split.values) == rendered.split.skeleton.slots
    return parts


def agree(made: Renderer, data: Sequence[MessageContext]) -> None:
    """Each message comes out as from a Jinja environment of its own, before and after others went through."""
    plain = Renderer(made.source, SURROUNDINGS)
    expected = [outcome(plain, context, in_full=True) for context in data]
    # An iterator that is printed shows its address: Jinja's own bytes then differ from one time to the next.
    if any("0x" in part.casefold() for parts in expected for part in parts):
        return
    for turn in range(4):
        assert [outcome(made, context) for context in data] == expected
        for context, parts in zip(data, expected, strict=True):
            assert short_way(made, context) in (None, parts)
        for ways in made.ways if turn == 2 else []:  # as it is after many messages
            ways.write_as_one()
    assert made.differences == 0  # nothing was caught late: what is noted is right by itself


def named(*names: Any) -> list[MessageContext]:
    return [replace(CONTEXT, contact={"id": n, "first_name": name}) for n, name in enumerate(names)]


def full_renderings(made: Renderer, data: Sequence[MessageContext]) -> int:
    """How many of these were rendered in full."""
    before = made.full
    for context in data:
        outcome(made, context)
    return made.full - before


def test_every_field_of_a_message_is_either_an_input_or_tells_trees_apart() -> None:
    told_apart = {"purpose", "campaign", "step", "topic", "options"}
    assert {field.name for field in fields(MessageContext)} == {*splitting.INPUTS} | told_apart
    made = renderer("{{ purpose }} {{ campaign }} {{ step }} {{ topic }} {{ options.n }} {{ contact.first_name }}")
    changes: list[dict[str, Any]] = [{}, {"campaign": "x"}, {"step": "x"}, {"topic": None}, {"options": {"n": 2}}]
    base = replace(CONTEXT, options={"n": 1})
    agree(made, [replace(base, contact={"first_name": name}, **change) for name in "ab" for change in changes])


@given(templates(), templates("text"), templates(), st.lists(contexts(), min_size=3, max_size=7))
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_template_gives_any_contact_what_jinja_gives(
    body: str, subject: str, text: str, data: list[MessageContext]
) -> None:
    try:
        made = renderer(START + body, f"{START}S {{{{ {subject} }}}}", START + text, **SHARED)
    except RenderError:  # not a template
        assume(False)
    agree(made, data)


def people(sample: MessageContext) -> list[MessageContext]:
    """Many contacts around a sample: names, languages, zones, orders."""
    places = [("en_GB", "Europe/London"), ("de_DE", "Europe/Berlin"), ("ar_EG", "Africa/Cairo"), ("en_US", "UTC")]
    names = ["Maya", "O'Neil & <Co>", "نور", None, "Zoë", "", "Ann Lee", "x\ny", " Max ", "Mü\x00ller"]
    return [
        replace(
            sample,
            contact={**sample.contact, "id": n, "first_name": names[n % len(names)], "last_name": names[n % 3]},
            event={**sample.event, "order_id": f"A-{n}/&", "amount": n * 7.35} if n % 7 else {},
            occurred_at=sample.occurred_at + timedelta(hours=11 * n),
            unsubscribe_url=sample.unsubscribe_url and f"https://mail.example/u/{n}.x-{n}",
            locale=places[n % len(places)][0],
            timezone=places[n % len(places)][1],
        )
        for n in range(100)
    ]


@pytest.mark.parametrize("name", template_names("templates"))
def test_our_messages_are_split_for_nearly_everybody_and_equal_jinjas(name: str) -> None:
    sample, _ = read_sample("templates", name, Settings())
    source, surroundings = load_template("templates", name), surroundings_of(Settings())
    data, made, plain = people(sample), Renderer(source, surroundings), Renderer(source, surroundings)
    expected = [outcome(plain, context, in_full=True) for context in data]
    for _ in range(2):
        assert [outcome(made, context) for context in data] == expected
        for ways in made.ways:
            ways.write_as_one()
    assert made.differences == 0
    usual = [
        context
        for context, parts in zip(data, expected, strict=True)
        if len(parts) == 3 and context.contact["first_name"] in ("Maya", "O'Neil & <Co>", "نور", None, "Zoë", "Ann Lee")
    ]
    assert full_renderings(made, usual) == 0
    for context in usual:
        assert short_way(made, context) == outcome(made, context)
    assert all(made.render(context).split is not None for context in usual)
    assert len({made.render(context).split.skeleton.key for context in usual}) <= len(usual) / 3  # type: ignore[union-attr]


def test_messages_of_one_kind_share_a_skeleton_whatever_their_zone_and_values() -> None:
    body = "<p>{{ contact.first_name }}, {{ occurred_at|date }}, {{ 1200|money('EUR') }}</p>"
    made = renderer(body, "Hi {{ contact.first_name|title }}", "{{ contact.first_name }} {{ event.order_id }}")
    first, second = named("maya", "o'neil")
    second = replace(second, locale="en_GB", timezone="Asia/Tokyo", event={"order_id": "B"})
    for context in (first, second, first):
        made.render(context)
    splits = [made.render(first).split, made.render(second).split]
    assert splits[0] is not None
    assert splits[1] is not None
    assert splits[0].skeleton == splits[1].skeleton
    assert splits[0].values[:2] == ("Maya", "maya")
    assert splits[1].values[:3] == ("O'neil", "o&#39;neil", "11 March 2026")


def test_a_changed_slot_or_piece_would_be_noticed() -> None:
    """The comparison of these tests looks at what is really used: a skeleton that lies is found out."""
    made = renderer("<p>{{ contact.first_name }}</p>", "Hi {{ contact.first_name }}", "{{ contact.first_name }}")
    data = named("Maya", "Max", "Zoë")
    agree(made, data)
    (ways,) = made.ways
    values: list[Any] = [getattr(data[0], name) for name in splitting.INPUTS]
    leaf, _known = ways.find(values)
    assert leaf is not None
    honest = leaf.run

    skeleton = leaf.skeleton
    leaf.skeleton = replace(skeleton, html=("<p>", *skeleton.html[1:-1], "</P>"))
    with pytest.raises(AssertionError):  # the way as one function looks it up as well
        agree(made, data)
    leaf.skeleton = skeleton
    agree(made, data)

    def lying(given: list[Any]) -> Any:
        leaf, subject, html, values = honest(given)  # type: ignore[misc]
        return leaf, subject, html, tuple(value.replace("Max", "Mxa") for value in values)

    leaf.run, ways.joined = lying, None
    with pytest.raises(AssertionError):
        agree(made, data)
    leaf.run, leaf.proven = lying, False  # on its first use the full rendering stands beside it
    assert outcome(made, data[1])[1] == "<p>Max</p>"
    assert made.differences == 1
    assert full_renderings(made, data * 3) == 9  # and none of this template is trusted any more


@pytest.mark.parametrize(
    "value", [" Maya", "Maya ", "Ma\u00a0", "", " ", "\n", "Ma\nya", "Ma\x00ya", "\x00", "\t", "a  b"]
)
@pytest.mark.parametrize("around", ["{}", "Hi {}!", "Hi {} there", "Hi {}\n\n\n{}", "  {}  \n", "\n\n{}\n\n\n\n{}"])
def test_values_that_touch_the_text_around_them_come_out_right(value: str, around: str) -> None:
    part = around.replace("{}", "{{ contact.first_name }}")
    made = renderer(f"<p>{part}</p>", f"x{part}", part)
    agree(made, [*named("Maya", "Max"), *named(value, "Zoë", value)])


def test_an_error_is_the_same_error_also_where_its_value_is_not_used() -> None:
    made = renderer("{% set unused = 1 / event.n %}\n<p>{{ event.text }}</p>")
    fine = replace(CONTEXT, event={"n": 2, "text": "x"})
    assert full_renderings(made, [fine] * 5) < 3
    for event in ({"n": 0, "text": "x"}, {"n": 1}, {"text": "x"}, {"n": "a", "text": "x"}):
        broken = replace(CONTEXT, event=event)
        assert outcome(made, broken) == outcome(made, broken, in_full=True)
        assert len(outcome(made, broken)) == 1
    assert full_renderings(made, [fine] * 5) == 0


def test_an_iterator_is_used_up_as_in_jinja() -> None:
    body = "{% set names = event.list|map('upper') %}{% if contact.id %}{{ names|join }}{% endif %}-{{ names|join }}"
    made = renderer(body)
    agree(made, [replace(CONTEXT, event={"list": some}) for some in (["a"], ["b", "c"], [])])
    twice = renderer("{% set r = event.list|reverse %}{{ r|join }}-{{ r|join }}")
    agree(twice, [replace(CONTEXT, event={"list": some}) for some in ("text", "more", ["a", "b"], ["c"])])


def test_what_a_loop_leaves_of_an_iterator_is_not_taken_for_nothing() -> None:
    left = "{% set rest = event.list|map('int') %}{% for one in rest %}{% break %}{% endfor %}{{ rest|sum }}"
    inside = "{% set rest = event.list|select %}{% for one in rest|map('int') %}{{ one + rest|sum }}{% endfor %}"
    for body in (left, inside):
        agree(renderer(body), [replace(CONTEXT, event={"list": some}) for some in ([1, 0], [1, 0], [1, 5], [2, 3])])


def test_a_file_of_macros_keeps_nothing_from_one_contact_for_another() -> None:
    macros = """{% set today = occurred_at|default('2026-03-10')|date %}{% set memory = namespace(name='nobody') %}
    {% set turn = cycler('a', 'b') %}
    {% macro said(name) %}{{ memory.name }} {{ name }} {{ today }} {{ turn.next() }}{% set memory.name = name %}
    {% endmacro %}"""
    made = renderer("{% from 'm/macros.html' import said %}{{ said(contact.first_name) }}", **{"m/macros.html": macros})
    data = [
        replace(one, locale=locale) for one, locale in zip(named("Ann", "Max", "Zoë"), ("de", "en", "fr"), strict=True)
    ]
    agree(made, data)
    for one in data * 2:
        assert "nobody " + one.contact["first_name"] in made.render(one).html
        assert made.render(one).html == Renderer(made.source, SURROUNDINGS).render(one).html
    assert full_renderings(made, data) == 0


@pytest.mark.parametrize(
    "body",
    [
        "{% for one in event.list %}{% if loop.changed(one) %}{{ one }}{% endif %}{% endfor %}",
        "{{ {contact.first_name: 1} }}",
        "{{ [contact.first_name].count('Maya') }}",
        "{% set rest = event.list|map('string') %}{% for one in rest %}{% break %}{% endfor %}{{ rest|join }}",
        "<style data-inline>p { color: red }</style><p>{{ contact.first_name }}</p>",
        "<{{ contact.first_name }}>",
    ],
)
def test_what_cannot_be_followed_is_rendered_in_full(body: str) -> None:
    made = renderer(body)
    data = [replace(one, event={"list": ["a", "a", "b"]}) for one in named("Maya", "Max", "style data-inline", "Maya")]
    agree(made, data)
    assert full_renderings(made, data) == len(data)


def test_a_value_that_looks_like_a_style_sheet_to_work_in_is_met_in_full() -> None:
    made = renderer("<p>{{ contact.first_name|safe }}style data-inline>p { color: red }</style>")
    agree(made, named("Maya", "Max", "<", "a<style data-inline>", "Zoë"))


def test_a_text_part_made_of_the_html_leaves_nothing_to_split_but_costs_no_full_rendering() -> None:
    made = renderer("<p>Hello {{ contact.first_name }}</p>", text=None)
    agree(made, named("Maya", "Max", "<b>"))
    assert full_renderings(made, named("Zoë", "Max")) == 0
    assert made.render(named("Zoë")[0]).split is None
    assert made.render(named("Zoë")[0]).text == "Hello Zoë\n"


def test_no_more_ways_are_learned_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "LEARNED_AT_MOST", 4)
    made = renderer("{% for one in event.list %}<p>{{ one }}</p>{% endfor %}")
    data = [replace(CONTEXT, event={"list": ["x"] * n}) for n in range(12)]
    agree(made, data)
    assert full_renderings(made, data) == 12 - 4


def test_long_ways_are_not_kept_and_many_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    body = "{% for one in event.list %}<p>{{ one }}</p>{% endfor %}"
    data = [replace(CONTEXT, event={"list": ["x"] * n}) for n in (0, 1, 3000, 2, 5000, 3)]
    made = renderer(body)
    agree(made, data)
    (ways,) = made.ways
    assert ways.steps < 2_000, "a loop of thousands of turns is given up early"
    assert full_renderings(made, data) == 2
    monkeypatch.setattr(splitting, "STEPS_AT_MOST", ways.steps)
    assert full_renderings(made, [replace(CONTEXT, event={"list": ["x"] * 9})] * 3) == 3
    agree(made, data)


def test_a_version_with_other_options_has_ways_of_its_own() -> None:
    made = renderer("{{ options.discount }}% {{ contact.first_name }}{% if options.discount > 5 %}!{% endif %}")
    agree(made, [replace(one, options={"discount": n}) for n in (1, True, 1.0, 10) for one in named("Maya", "Max")])


@pytest.mark.parametrize("name", ["x", None])
def test_a_marketing_message_has_its_unsubscribe_link_however_it_is_made(name: str | None) -> None:
    link = "{{ unsubscribe_url if contact.first_name else '' }}"
    shown = renderer(f"<a href='{link}'>x</a>", text=link)
    changed = renderer("{{ unsubscribe_url|replace(contact.first_name, '') }}", text="{{ unsubscribe_url }}")
    urls = [f"https://x.example/u/{n}?a=1&b=2" for n in range(5)]
    data = [
        replace(one, purpose=Purpose.MARKETING, unsubscribe_url=url)
        for one, url in zip(named("Maya", "Max", "Zoë", name, "Ann"), urls, strict=True)
    ]
    for made in (shown, changed):
        agree(made, [*data, replace(data[0], unsubscribe_url=None), replace(data[0], unsubscribe_url="")])
    choices = "{% if preferences_url %}<a href='{{ preferences_url }}'>{{ contact.first_name }}</a>{% endif %}"
    agree(renderer(choices, text=choices), [*data, replace(data[0], unsubscribe_url=None), *named("Max", "Zoë")])
    assert "/preferences/0?a=1&amp;b=2" in outcome(renderer(choices + link, text=choices + link), data[0])[1]
    assert len(outcome(shown, data[3])) == (3 if name else 1)
    assert "must carry its unsubscribe link" in outcome(changed, data[3])[0] if name else True
