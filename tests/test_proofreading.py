"""What can be sent but not be shown is told with the file and the line to mend."""

from datetime import UTC, datetime

import pytest

from evergreet.campaign import Purpose
from evergreet.proofreading import CUT_AT, faults
from evergreet.rendering import MessageContext, Surroundings, TemplateSource

SURROUNDINGS = Surroundings("Fernway & Co", "14 Mill Lane, Bristol", "https://www.fernway.example")
CONTEXT = MessageContext(
    contact={"first_name": "Maya"}, event={"url": "shop.example"}, occurred_at=datetime(2026, 3, 10, tzinfo=UTC),
    options={}, locale="de", timezone="UTC", purpose=Purpose.TRANSACTIONAL, campaign="c", step="s",
)  # fmt: skip
LAYOUT = "<html><head><title>x</title></head>\n<body><!--[if mso]><table><![endif]-->{% block content %}{% endblock %}"
PARTS = (
    "{% macro go(url) %}\n<a href='{{ url }}'>Go</a>{% endmacro %}"
    "{% macro box() %}<div>{{ caller() }}</div>{% endmacro %}"
)
HEAD = '{% extends "_base/layout.html" %}\n{% from "_base/parts.html" import box, go %}\n{% block content %}\n'


def found(content: str, size: int = 0) -> list[str]:
    files = {"m/subject.txt": "x", "m/body.html": HEAD + content + "\n{% endblock %}", "_base/layout.html": LAYOUT,
             "_base/parts.html": PARTS,
             "locales/de.po": 'msgid "Go <b>on</b>"\nmsgstr "Los <b>jetzt</b>"\n'}  # fmt: skip
    return faults(TemplateSource("m", "hash", files), SURROUNDINGS, CONTEXT, size)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("<p>Hi\n<b>Maya\n</p>", "m/body.html, line 5: <b> is opened here and not closed: write </b> where it ends."),
        ("<table><tr><td>x</tr></table>", "m/body.html, line 4: <td> is opened here and not closed"),
        ("\n\n</i>", "m/body.html, line 6: </i> ends nothing: no <i> is open here."),
        ("{% if contact.first_name %}\n<div>{% endif %}", "m/body.html, line 5: <div> is opened here and not closed"),
        ("{% call box() %}\nHi <i>\n{% endcall %}", "m/body.html, line 5: <i> is opened here and not closed"),
        ("<a href=''>x</a>", "m/body.html, line 4: this link has no address."),
        ("\n<a href='shop.example/x'>x</a>", "m/body.html, line 5: this link leads nowhere: 'shop.example/x'."),
        ("<a href='https://a b'>x</a>", "m/body.html, line 4: this link leads nowhere: 'https://a b'."),
        ("<a href='https://[x'>x</a>", "m/body.html, line 4: this link leads nowhere: 'https://[x'."),
        ("<a href='javascript:x()'>x</a>", "this link leads nowhere: 'javascript:x()'."),
        ("{{ go('') }}\n{{ go(event.url) }}", "m/body.html, line 5 (_base/parts.html, line 2): this link leads"),
        ("<img src='https://a.example/x.png'>", 'm/body.html, line 4: this picture has no alt="…"'),
        ("<img alt='x'>", "m/body.html, line 4: this picture has no address."),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_line(content: str, says: str) -> None:
    assert any(says in one for one in found(content)), found(content)


@pytest.mark.parametrize(
    "content",
    [
        "<p>Left open<ul><li>one<li>two</ul><br><br/><img src='cid:logo' alt=''>",
        "<a href='#more'>x</a><a name='more'>x</a><a href='mailto:a@b.example'>x</a><a href='HTTPS://A.example'>x</a>",
        "{% trans %}Go <b>on</b>{% endtrans %}{{ go('tel:+4915112345678') }}{% call box() %}x{% endcall %}",
        "{% set note %}{% endset %}{% if note %}<b>{% endif %}",
        "<style>a > b { color: red }</style><!-- <b> --> 1 < 2",
    ],
)
def test_what_mail_programs_show_is_no_fault(content: str) -> None:
    assert found(content) == []


def test_a_message_that_is_cut_off_says_at_what() -> None:
    assert found("<p>Hi</p>", CUT_AT) == []
    assert found("<p>Hi</p>", 130 * 1024)[0].startswith("m/body.html: 130 KB of HTML. Gmail shows the first 102 KB")
