"""Links written anew: which are, where they lead, and that a skeleton comes out as the whole HTML does."""

from html import unescape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from evergreet.contracts import Split
from evergreet.links import LinkWriter
from evergreet.settings import Settings
from evergreet.splitting import skeleton_of
from evergreet.tokens import InvalidToken, Tokens

KEY = "0123456789abcdef" * 2
TOKENS = Tokens(["old", "new"])
OURS = "https://mail.fernway.example"


def writer(**settings: Any) -> LinkWriter:
    return LinkWriter(Settings(secret_keys=(SecretStr("new"),), **settings), TOKENS, "spring sale", "hello")


TRACKING = writer(track_clicks=True)
NAMING = writer(utm_domains="fernway.example, shop.example")
BOTH = writer(track_clicks=True, utm_domains=("fernway.example",))


def target(link: str) -> str:
    assert link.startswith(f"{OURS}/c/")
    click = TOKENS.read_click(unescape(link).removeprefix(f"{OURS}/c/"))
    assert (click.row, click.key) == (7, KEY)
    return click.url


def link_in(html: str) -> str:
    return html.partition('href="')[2].partition('"')[0]


@pytest.mark.parametrize(
    "html",
    [
        f'<a href="{OURS}/u/abc">', f'<a href="{OURS}/preferences/abc">', f'<a href="{OURS}/c/abc">',
        '<a href="mailto:a@b.example">', '<a href="#top">', '<a href="/account">', '<a href="javascript:alert(1)">',
        '<a href="https://">', '<a href="https://a.example/ä">', '<a href="https://a.example/a b">',
        '<a href="https://[::bad/">', '<a href="ftp://a.example">', "<a href='//a.example'>", '<a href="">',
        '<a name="x" title=\'href="https://a.example"\'>', '<img src="https://a.example/p.png">',
        '<!-- <a href="https://a.example"> -->', '<style>a[href="https://a.example"] {}</style>',
        '<link href="https://a.example/style.css">', f'<a href="https://a.example/{"x" * 1600}">',
        'a < b and <a href=https://a.example>', '<a title="don\'t" href=\'\'>',
    ],
)  # fmt: skip
def test_what_is_no_link_of_the_company_to_the_web_stays_as_it_is(html: str) -> None:
    for one in (TRACKING, NAMING, BOTH):
        assert one.in_html(html, 7, KEY) == html


@pytest.mark.parametrize(
    ("written", "leads"),
    [
        ("https://a.example", "https://a.example"),
        (" HTTP://A.example/x?a=1&amp;b=2#c ", "HTTP://A.example/x?a=1&b=2#c"),
        ("https://u@a.example:8080/%20?next=https://b.example", "https://u@a.example:8080/%20?next=https://b.example"),
        (f"https://a.example/u/{'x' * 1000}", f"https://a.example/u/{'x' * 1000}"),
    ],
)
def test_a_link_leads_over_us_to_where_it_led(written: str, leads: str) -> None:
    for html in ('<p><A class=x href="{}" target=_blank>x</a>', "<area alt='\"' HREF = '{}'/>"):
        made = TRACKING.in_html(html.format(written), 7, KEY)
        before, after = html.split("{}")
        assert made.startswith(before)
        assert made.endswith(after)
        assert target(made[len(before) : len(made) - len(after)]) == leads


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://shop.example/", "https://shop.example/?{all}"),
        ("https://www.shop.example/a?b=c%20d&b#e?f", "https://www.shop.example/a?b=c%20d&b&{all}#e?f"),
        ("https://SHOP.example?UTM_medium=print",
         "https://SHOP.example?UTM_medium=print&utm_source=evergreet&utm_campaign=spring+sale&utm_content=hello"),
        ("https://notshop.example/", None), ("https://shop.example.evil.example/", None),
        ("https://evil.example/?shop.example", None),
    ],
)  # fmt: skip
def test_links_to_own_domains_are_named_once(url: str, named: str | None) -> None:
    every = "utm_source=evergreet&utm_medium=email&utm_campaign=spring+sale&utm_content=hello"
    wanted = url if named is None else named.format(all=every)
    once = NAMING.in_html(f'<a href="{url}">', 7, KEY)
    assert unescape(link_in(once)) == wanted
    assert NAMING.in_html(once, 7, KEY) == once
    assert writer().in_html(f'<a href="{url}">', 7, KEY) == f'<a href="{url}">'


def test_a_click_leads_to_the_named_link() -> None:
    made = BOTH.in_html('<a href="https://www.fernway.example/x#y">', 7, KEY)
    assert target(link_in(made)).startswith("https://www.fernway.example/x?utm_source=evergreet&")
    assert target(link_in(made)).endswith("&utm_content=hello#y")


LITERALS = st.lists(
    st.sampled_from(
        ["<p>", "</p>", '<a href="', '">', "'>", "<a href='", "https://shop.example/", "https://mail.fernway.example/u/",
         "?a=", "&amp;b=", "#x", "<!--", "-->", "->", ">", "<", "-", " ", "text", '<a title="', '" href="', "<style>",
         "</style>", "<a ", "=", "<!", 0, 1, 2, 3]
    ),
    max_size=24,
)  # fmt: skip
VALUE = st.one_of(
    st.sampled_from(
        ["", "x", "https://fernway.example/1?c=d", "mailto:a@b.example", f"{OURS}/u/t", "&#34;", "--", "-", "&lt;",
         '<a href="https://shop.example">', '"', "'", ">", "a", "href="]
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=8),
)  # fmt: skip
VALUES = st.tuples(VALUE, VALUE, VALUE, VALUE)


@given(LITERALS, st.lists(VALUES, min_size=1, max_size=3))
def test_a_skeleton_comes_out_as_the_whole_html_does(pieces: list[str | int], messages: list[tuple[str, ...]]) -> None:
    skeleton = skeleton_of(4, (0,), tuple(pieces), (1, "text", 2))
    for fresh in (writer(track_clicks=True), writer(utm_domains=("shop.example",)),
                  writer(track_clicks=True, utm_domains=("fernway.example",))):  # fmt: skip
        for number, values in enumerate(messages):
            split = Split(skeleton, values)
            made = fresh.in_split(split, number, KEY)
            if made is not None:
                assert made.part("html") == fresh.in_html(split.part("html"), number, KEY)
                assert (made.part("subject"), made.part("text")) == (split.part("subject"), split.part("text"))
                assert len(made.values) == made.skeleton.slots
                assert "\0" not in made.part("html")
        dropped = fresh._plans.get(skeleton.key) is None
        assert not dropped or fresh._planned(skeleton) is None, "what is planned comes out right, and is not given up"


def test_a_usual_message_is_split_with_its_links_in_slots() -> None:
    html = ('<a href="https://www.fernway.example/a?b=&amp;c">', 0, '</a> <a href="https://www.fernway.example/o/', 1,
            '">o</a> <a href="', 2, '">Unsubscribe</a><!--[if mso]>x<![endif]-->')  # fmt: skip
    one = writer(track_clicks=True, utm_domains=("fernway.example",))
    for row, order in ((7, "A-1"), (7, "A-2")):
        made = one.in_split(Split(skeleton_of(3, (0,), html, ()), ("Ana", order, f"{OURS}/u/t")), row, KEY)
        assert made is not None
        assert made.values[:3] == ("Ana", order, f"{OURS}/u/t")
        first, second, left = made.values[3:]
        assert target(first).startswith("https://www.fernway.example/a?b=&c&utm_source=")
        assert target(second).startswith(f"https://www.fernway.example/o/{order}?utm_source=")
        assert left == f"{OURS}/u/t"
        assert len(made.part("html")) < 1400


SIGNED = TOKENS.sign_clicks(7, KEY, ["https://shop.example/a", "http://b.example/?c=//d"])
EVIL = ("A" * 32, "Ly9ldmlsLmV4YW1wbGU", "amF2YXNjcmlwdDphbGVydCgxKQ", "A" * 22)


def changed(token: str, at: int, octet: str) -> str:
    at %= len(token)
    return token[:at] + octet + token[at + 1 :]


@given(
    st.one_of(
        st.text(max_size=300),
        st.from_regex(r"[A-Za-z0-9_-]{33,200}", fullmatch=True),
        st.builds(changed, st.sampled_from(SIGNED), st.integers(0, 500), st.sampled_from("AZaz09-_=. /%\n")),
        st.builds("".join, st.permutations(EVIL)),
    )
)
def test_no_token_leads_anywhere_but_to_what_was_signed(token: str) -> None:
    try:
        click = TOKENS.read_click(token)
    except InvalidToken:
        return
    assert (click.row, click.key) == (7, KEY)
    assert click.url in {"https://shop.example/a", "http://b.example/?c=//d"}
    assert token in TOKENS.sign_clicks(7, KEY, [click.url])


def test_a_click_is_read_with_all_keys_and_by_no_other_kind_of_token() -> None:
    urls = ["https://shop.example/a"]
    (old,), (other,) = Tokens(["old"]).sign_clicks(1, KEY, urls), Tokens(["other"]).sign_clicks(1, KEY, urls)
    assert TOKENS.read_click(old).url == urls[0]
    body = TOKENS.sign_unsubscribe(1, "news")
    for wrong in (other, body, old[:-1], old + "A", old.swapcase(), ""):
        with pytest.raises(InvalidToken):
            TOKENS.read_click(wrong)
    with pytest.raises(InvalidToken):
        TOKENS.read_unsubscribe(old)


@pytest.mark.parametrize(
    "url",
    ["//evil.example", "javascript:alert(1)", "https://a.example/\r\nSet-Cookie: a=b", "https:evil", "data:,x",
     "https://a.example/ä", "https://a\\b", "https://a.example/<", "", "https://" + "a" * 1501],
)  # fmt: skip
def test_even_signed_nothing_but_a_web_address_is_led_to(url: str) -> None:
    """Only with the key: what stands in a message otherwise is not signed in the first place."""
    import base64

    from evergreet.tokens import _click_signature

    encoded = base64.urlsafe_b64encode(url.encode()).rstrip(b"=").decode()
    body = base64.urlsafe_b64encode((7).to_bytes(8, "big") + bytes.fromhex(KEY)).decode() + encoded
    with pytest.raises(InvalidToken):
        TOKENS.read_click(body + _click_signature(TOKENS._click_keys[-1], body))
