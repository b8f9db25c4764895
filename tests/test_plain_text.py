"""A text part that is made of the HTML reads as one that was written."""

import pytest

from evergreet.composing import surroundings_of
from evergreet.plain_text import plain_text
from evergreet.preview import read_sample
from evergreet.rendering import Renderer, TemplateSource, load_template
from evergreet.settings import Settings


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Hi <span>Maya</span>, go <a href='https://a.example/?a=1&amp;b=2'>there</a>.</p>",
         "Hi Maya, go there <https://a.example/?a=1&b=2>.\n"),
        ("<a href='https://a.example'>https://a.example</a>", "https://a.example\n"),
        ("Write to <a href='mailto:a@b.example'>a@b.example</a>!", "Write to a@b.example!\n"),
        ("<a name='top'>Top</a> <a href='#top'>up</a> <a href=' '>nowhere</a>", "Top up nowhere\n"),
        ("<div><div><p>One</p></div><div>Two</div></div>", "One\n\nTwo\n"),
        ("<a href='https://a.example'><img src='x' alt='A tent'></a><img src='y' alt=''>",
         "[A tent] <https://a.example>\n"),
        ("<div style='display:none'>Preheader</div><style>p {}</style>Shown", "Shown\n"),
    ],
)  # fmt: skip
def test_links_stand_behind_their_words_and_nothing_is_indented(html: str, text: str) -> None:
    assert plain_text(html) == text


def test_our_layout_makes_a_text_that_reads_well() -> None:
    settings = Settings()
    context, _ = read_sample("templates", "new_product_announcement/announcement", settings)
    whole = load_template("templates", "new_product_announcement/announcement").sources
    sources = {name: text for name, text in whole.items() if not name.endswith("announcement/body.txt")}
    source = TemplateSource("new_product_announcement/announcement", "", sources)
    text = Renderer(source, surroundings_of(settings)).render(context).text
    url = "https://www.fernway.example/tents/fell-2"
    for said in (
        "Hello Maya,\n\nYou asked",
        f"[Fell 2 tent]\n<{url}>\nFell 2 tent <{url}>\n£289.00\n\nTwo",
        f"Take a closer look <{url}>\n\nWarm regards,\nAll of us",
    ):
        assert said in text
    assert "\n " not in text
    assert "\n\n\n" not in text
