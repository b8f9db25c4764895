"""Templates and data drawn by Hypothesis: whatever a template can do with the data of a message, it does."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from evergreet.campaign import Purpose
from evergreet.rendering import MessageContext

CONTEXT = MessageContext(
    contact={"id": 1, "first_name": "Maya", "a": "Maya", "b": "Max", "c": 3},
    event={"order_id": "A-1", "amount": 12.5, "currency": "GBP", "items": [{"name": "Mug", "price": 3}], "n": 2},
    occurred_at=datetime(2026, 3, 10, 23, 30, tzinfo=UTC),
    options={"discount": 10, "names": {"A": "<b>Anna</b>"}},
    locale="en_GB",
    timezone="Europe/London",
    purpose=Purpose.TRANSACTIONAL,
    campaign="thank-you",
    step="receipt",
    topic="orders",
)

_LINES = {
    "text": r"""
        contact.a
        contact['b']
        event.text
        contact.get('a')
        contact.a[:2]
        event.items[0].name
        unsubscribe_url|default('', true)
        preferences_url|default('', true)
        picked.x|default(contact.b)
        options.names.get(contact.a, 'nobody')
        (options.names.A)
        (locale)
        (timezone)
        (company)
        (language)
        (kept)
        (block)
        (ns.v)
        '<b>lit&eral'
        ('x'|safe)
        _('plain & simple')
        («text»|title)
        («text»|upper)
        («text»|lower)
        («text»|capitalize)
        («text»|urlencode)
        («text»|default('none'))
        («text»|default('', true))
        («text»|default(«text»))
        («text»|truncate(5))
        («text»|e)
        («text»|safe)
        («text»|string)
        («text»|trim)
        («text»|replace('a', «text»))
        («text»|tojson)
        («text»|striptags)
        («text»|wordwrap(4))
        («text»|indent(2))
        («text»|center(9))
        («text»|forceescape)
        («text»|urlize)
        («text»|pprint)
        («number»|money('EUR'))
        («number»|money(event.currency))
        («number»|number)
        («number»|string)
        («number»|filesizeformat)
        (occurred_at|date)
        (occurred_at|datetime('short'))
        ('2026-03-10'|date)
        («list»|join(', '))
        («list»|map('string')|join)
        («list»|map('upper')|join('<'))
        («list»|map('money', 'EUR')|join)
        («list»|selectattr('name', 'defined')|map(attribute='name')|join)
        («list»|batch(2)|map('join', '&')|join)
        («list»|unique|join)
        («list»|list|tojson)
        («list»|first|string)
        («any»|default('-'))
        («any»|string)
        («text» if «question» else «text»)
        («text» and «text»)
        («text» or «text»)
        («text» ~ «text»)
        («text» ~ '/' ~ «number»)
        _('Hi %(n)s!', n=«text»)
        '<{}>'.format(«text»)
        ('%s-%s'|format(«text», 1))
        ('%5s' % («text»,))
        (('<b>%s'|safe) % («text»,))
        (('&'|e) ~ «text»)
        hello(«text»)
        hello(other=«text», name='')
        box(«text»)
        ngettext('one %(x)s', 'more %(x)s', event.n|int, x=«text»)
        ('x' ~ «text»).upper()
        dict(k=«text»).k
        («text» ~ '')[1:3]
        ((«text», 'b')|first)
        (('b' ~ «text»).split('b')|last)
    """,
    "number": r"""
        contact.c
        event.n
        3
        0
        (-2.5)
        occurred_at.year
        (options.discount)
        (nth|default(2, true))
        («text»|length)
        («text»|int)
        («text»|wordcount)
        («number»|round(1))
        («number»|abs)
        («number»|int)
        («number» + «number»)
        («number» * «number»)
        («number» - 1)
        («number» / «number»)
        («number» // 2)
        («number» % 2)
        (-«number»)
        («list»|length)
        («list»|map('int')|sum)
        («list»|reject('none')|list|count)
        («list»|select('number')|max|default(1))
        («number» if «question» else «number»)
    """,
    "list": r"""
        event.list
        event.items
        event.pairs
        event.list[1:]
        contact.a.split(' ')
        range(event.n|int % 4)
        [contact.a, 1]
        {'k': contact.a}
        (contact.b, event.n)
        [«text», «number»]
        («list»|list)
        («list»|sort)
        («list»|reverse)
        («list»|batch(2))
        («list»|slice(2))
        («list»|unique)
        («list»|map('string'))
        («list»|map('upper'))
        («list»|select('string'))
        («list»|reject('none'))
        («list»|map(attribute='name'))
        («list»|groupby('name'))
        («list» if «question» else «list»)
    """,
    "any": r"""
        contact.missing
        occurred_at
        nth
        picked
        none
        event.items[0]
        picked.x
        unsubscribe_url
        preferences_url
        (options.names[contact.b])
        contact
        «text»
        «list»
    """,
    "question": r"""
        contact.a
        event.list
        (not event.n)
        nth
        (contact.missing is defined)
        («any» is defined)
        («any» is none)
        («any» is not string)
        («any» is number)
        («any» is mapping)
        («list» is iterable)
        («text» is in(event.list))
        («text» is eq(contact.b))
        («any» is sameas(none))
        («any» is callable)
        («text» == «text»)
        («any» != «any»)
        (0 < event.n < 3)
        («number» >= «number»)
        («text» in «text»)
        («text» not in event.list)
        (not «question»)
        («question» and «question»)
        («question» or «text»)
        «text»
        «list»
    """,
    "statement": r"""
        {{ «text» }}
        {{ «text» }}
        {{ «number» }}
        {{ «any»|default('') }}
        {% if «question» %}«body»{% elif «question» %}«body»{% else %}«body»{% endif %}
        {% if «question» %}«body»{% endif %}
        {% for kept in «list» %}{{ loop.index }}{{ kept }}«body»{% else %}none{% endfor %}
        {% for kept in «list» if «question» %}{{ loop.length }}{% if loop.last %}{% break %}{% endif %}{% endfor %}
        {% for kept in «list» %}{{ loop.cycle('a', contact.a) }}{{ loop.previtem|default('-') }}{% endfor %}
        {% for k, v in event.pairs %}{{ k }}={{ v }};{% endfor %}
        {% for k, v in contact|dictsort %}{{ k }}={{ v }};{% endfor %}
        {% for k, v in [(«text», «number»)] if v %}{{ k }}={{ v }};{% endfor %}
        {% set kept = «text» %}
        {% set unused = «number» %}
        {% set ns.v = «text» %}{{ ns.v }}
        {% set block %}«body»{% endset %}{{ block }}
        {% set block | upper %}«body»{% endset %}{{ block }}
        {% set block | safe %}«body»{% endset %}{% if block %}{{ block|length }}{% endif %}
        {% filter upper %}«body»{% endfilter %}
        {% filter e %}«body»{% endfilter %}
        {% filter striptags %}«body»{% endfilter %}
        {% call box(«text») %}«body»{% endcall %}
        {% call box() %}«body»{% endcall %}
        {% autoescape false %}«body»{% endautoescape %}
        {% autoescape true %}«body»{% endautoescape %}
        {% autoescape contact.a %}«body»{% endautoescape %}
        {% trans n=«text» %}Hi {{ n }}!{% endtrans %}
        {% trans count=event.n|int %}one{% pluralize %}{{ count }}{% endtrans %}
        {% with kept = «text» %}«body»{% endwith %}
        {% include '_base/part.html' %}
        {% include contact.a ignore missing %}
        {% from '_base/more.html' import said with context %}{{ said(«text») }}
        {% for x in «list» recursive %}{{ x }}{{ loop(x) if x is iterable and x is not string }}{% endfor %}
        {% for kept in «list» %}{% if «question» %}{% continue %}{% endif %}{{ loop.nextitem|default('.') }}{% endfor %}
        {% for x in «list» %}{% for y in «list» %}{{ loop.index }}{{ x }}{{ y }}{% endfor %}{% endfor %}
        {% for x in «list» %}{% set ns.v = ns.v ~ x %}{% endfor %}{{ ns.v }}
        {% macro own(x, y=contact.a) %}[{{ x }}{{ y }}{{ varargs|join }}]{% endmacro %}{{ own(«text», «text», «text») }}
        {% call(one) each(«list») %}{{ one }}«body»{% endcall %}
        {% set x, y = (contact.a, «text») %}{{ y }}{{ x }}
        {%- if «question» -%} {{ «text» }} {%- else +%} «body» {% endif %}
        <a href="https://x.example/?n={{ «text»|urlencode }}&amp;u={{ «text» }}" style="{{ «text» }}">x</a>
    """,
    "body": r"""
        «literal»«statement»«literal»
        «literal»«statement»«literal»«statement»
    """,
}
GRAMMAR = {kind: [line.strip() for line in lines.strip().split("\n")] for kind, lines in _LINES.items()}
GRAMMAR["literal"] = ["", " ", "\n", "  \n\n\n", "a", "<p class='x'>", "</p>\n", "-", ".\n\n", "\t", "&amp; ", "<br>"]
ENDS = {kind: [line for line in lines if "«" not in line] for kind, lines in GRAMMAR.items()}
ENDS |= {"body": ["a {{ contact.a }}", "{{ event.n }}\n", "{{ contact['b'] }}"], "statement": ["{{ contact.a }}"]}

START = (
    "{% from '_base/macros.html' import hello, box, each %}{% set ns = namespace(v=contact.a) %}"
    "{% set kept = 'kept' %}{% set block = contact.b %}"
)
SHARED = {
    "_base/macros.html": "{% set mark = '&' %}"
    "{% macro hello(name, other='x') %}<i>{{ name }}{{ mark }}</i>{% if name %}{{ other }}{% endif %}{% endmacro %}"
    "{% macro box(title='') %}<td>{{ title }}</td>"
    "{% if caller is defined %}{{ caller() }}|{{ caller()|upper }}{% endif %}{% endmacro %}"
    "{% macro each(these) %}{% for one in these %}{{ caller(one) }}{% endfor %}{% endmacro %}",
    "_base/more.html": "{% set who = contact.a|default('nobody') %}{% macro said(x) %}{{ who }}:{{ x }}{% endmacro %}",
    "_base/part.html": "[{{ contact.a|default('-') }}{{ kept }}]",
    "locales/de.po": 'msgid "Hi %(n)s!"\nmsgstr "%(n)s, hallo <i>!"\n\nmsgid "plain & simple"\nmsgstr "schlicht"\n',
}


@st.composite
def templates(draw: st.DrawFn, kind: str = "body", depth: int = 5) -> str:
    """Expand a word of the grammar; now and then an expression stands where it does not belong."""
    if kind in ("text", "number", "list") and draw(st.integers(0, 60)) == 60:
        kind = draw(st.sampled_from(["text", "number", "list", "any"]))
    line = draw(st.sampled_from(GRAMMAR[kind] if depth > 0 else ENDS[kind]))
    return re.sub("«(.*?)»", lambda word: draw(templates(word[1], depth - 1)), line)


TEXTS = (
    "Maya|Max|O'Neil & <b>Co</b>|| |a b|x\ny| lead|trail |\u00a0|\ufdd0|\ufdd0a;1;|نور|🎉|%s|%(n)s|{0}|a\x00b|\x1f|\r|A"
    "|{{ x }}|%%|True|1|\x85|\u3000x|אב\u202eג|🏳️‍🌈|\ud800|</p>|_base/part.html"
)
texts = st.sampled_from([*TEXTS.split("|"), "2026-03-10", "\u2028", "<style data-inline>", "a,b"]) | st.text(max_size=6)
numbers = st.integers(-3, 12) | st.floats(-2, 3, width=16) | st.sampled_from([1, True, 1.0, 10**20])
scalars = texts | numbers | st.none() | st.booleans()
PLACES = [("en_GB", "Europe/London"), ("de_DE", "Europe/Berlin"), ("de_CH", "UTC"), ("ar", "Asia/Tokyo")]


@st.composite
def mostly(draw: st.DrawFn, usual: st.SearchStrategy[Any]) -> Any:
    """A value of the usual kind, and now and then something else."""
    return draw(scalars if draw(st.integers(0, 25)) == 25 else usual)


@st.composite
def contexts(draw: st.DrawFn) -> MessageContext:
    """The data of a message; now and then something is missing."""
    contact = {"id": 1, "a": draw(mostly(texts)), "b": draw(mostly(texts)), "c": draw(mostly(numbers))}
    item = st.fixed_dictionaries({"name": texts}, optional={"price": numbers})
    event = {
        "n": draw(mostly(st.integers(0, 5))),
        "text": draw(mostly(texts)),
        "currency": draw(st.sampled_from(["EUR", "eur", None, "GBP"])),
        "list": draw(mostly(st.lists(scalars, max_size=3) | st.lists(texts, max_size=3) | st.just("list"))),
        "items": draw(mostly(st.lists(item, min_size=1, max_size=3))),
        "pairs": draw(st.lists(st.tuples(scalars, scalars).map(list), max_size=2)),
    }
    for values in (contact, event):
        if draw(st.integers(0, 15)) == 15:
            del values[draw(st.sampled_from([*values][1:]))]
    locale, timezone = draw(st.sampled_from(PLACES))
    return replace(
        CONTEXT,
        contact=contact,
        event=event,
        occurred_at=CONTEXT.occurred_at + timedelta(hours=draw(st.integers(0, 40))),
        locale=locale,
        timezone=timezone,
        nth=draw(st.none() | st.integers(1, 3)),
        picked=draw(st.fixed_dictionaries({}, optional={"x": texts})),
        unsubscribe_url=draw(st.none() | st.just("https://x.example/u/t")),
    )
