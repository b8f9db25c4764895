"""What leaves as bytes is what the standard library would have written, line for line within the rules of mail."""

import re
from dataclasses import replace
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage as StandardMessage
from email.utils import parseaddr
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors.email.checks import LONGEST_LINE
from connectors.email.mime import _skeleton, compose
from evergreet.contracts import EmailMessage, Mailbox
from evergreet.errors import Misconfigured, Permanent
from tests.connectors.email.letters import SENDER, letter

UNSUBSCRIBE = "<https://mail.fernway.example/u/" + "eyJjIjoxMjM0NTY3ODkwLCJ0Ijoib3JkZXJzIn0." * 6 + ">"
ONE_CLICK = {"List-Unsubscribe": UNSUBSCRIBE, "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}

header_text = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=300).filter(
    lambda text: text == text.strip()  # readers drop space at the ends
)
body = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=400),
    st.text(st.sampled_from("\r\n. .ab=é\t😀ש"), max_size=200),
    st.text("x.", min_size=990, max_size=1100),
)
# What the standard library itself writes faithfully: it loses spaces and raises on some longer or odder names.
everyday = st.text("abcxyzABCéüßשلم日本😀,.'-", max_size=9)


def parsed(content: bytes) -> StandardMessage:
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, StandardMessage)
    return message


def field(content: bytes, name: str) -> str:
    """A header as it stands, unfolded, its encoded words not yet decoded."""
    return re.sub(r"\r\n(?=[ \t])", "", str(message_from_bytes(content)[name]))


def decoded(text: str) -> str:
    return str(make_header(decode_header(text)))


def ended(text: str) -> str:
    """A body as it arrives: line ends are CRLF, the last line is ended."""
    text = re.sub(r"\r\n|\r|\n", "\r\n", text)
    return text if text.endswith("\r\n") else text + "\r\n"


def as_the_library_writes_it(given: EmailMessage) -> bytes:
    built = StandardMessage(policy=policy.SMTP)
    built["MIME-Version"] = "1.0"
    built["From"] = Address(given.sender.name, addr_spec=given.sender.address)
    if given.reply_to:
        built["Reply-To"] = Address(given.reply_to.name, addr_spec=given.reply_to.address)
    built["Date"] = given.date
    built["To"] = Address(given.to.name, addr_spec=given.to.address)
    built["Subject"] = given.subject
    built["Message-ID"] = f"<{given.key}@fernway.example>"
    built.set_content(given.text, cte="base64")
    built.add_alternative(given.html, subtype="html", cte="base64")
    for name, value in given.headers.items():
        built[name] = value
    return built.as_bytes()


def seen(content: bytes) -> dict[str, Any]:
    """All that a reader of the message can see."""
    message = parsed(content)
    parts = list(message.iter_parts())
    return {
        "type": message.get_content_type(),
        "mailboxes": {
            name: [(a.display_name, a.addr_spec) for a in message[name].addresses]
            for name in ("From", "To", "Reply-To")
            if name in message
        },
        "fields": {name.lower(): str(message[name]) for name in message if name.lower() not in _COMPARED_OTHERWISE},
        "date": message["Date"].datetime,
        "parts": [(part.get_content_type(), part.get_content_charset(), part.get_content()) for part in parts],
        "encodings": [part["Content-Transfer-Encoding"] for part in parts],
        "defects": [message.defects, *[part.defects for part in parts]],
    }


_COMPARED_OTHERWISE = {"from", "to", "reply-to", "date", "content-type"}


def assert_fit_for_the_wire(content: bytes) -> None:
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", content), "a bare CR or LF"
    assert content.isascii()
    assert b"\0" not in content
    assert max(map(len, content.split(b"\r\n"))) <= LONGEST_LINE
    head = content.partition(b"\r\n\r\n")[0]
    for line in head.split(b"\r\n"):
        assert b"=?utf-8?" not in line or len(line) <= 76, "RFC 2047 §2: a line with an encoded word is at most 76 long"
        assert line.strip(), "a line of a header that is blank ends the header for some readers"


@given(to=header_text, sender=header_text, reply=header_text, subject=header_text, text=body, html=body)
@example(to="Berg, Anna <b@evil.example>", sender='A "quoted" \\ name', reply=".", subject="", text="", html="")
@example(to="=?utf-8?q?x?=", sender="a  b", reply="", subject="=?utf-8?b?eA==?=", text=".\r\n..\n.", html="\r")
@example(
    to="שלום עולם, " * 8 + "א",
    sender="😀" * 40,
    reply="山田　太郎",
    subject="مرحبا, " * 40 + "م",
    text="a\rb\nc\r\nd",
    html="é" * 2000,
)
@example(to="x" * 70, sender="x" * 300, reply="\t".join("ab"), subject="w" * 1200, text="From me", html="x" * 5000)
@example(
    to="a", sender="b", reply="c", subject="A plain subject that goes on and on, " * 30 + "!", text="a ", html="\n\n"
)
@settings(max_examples=200, deadline=None)
def test_whatever_was_given_is_read_back(to: str, sender: str, reply: str, subject: str, text: str, html: str) -> None:
    content = compose(
        letter(
            to=Mailbox("anna@customer.example", to), sender=Mailbox(SENDER.address, sender), subject=subject,
            text=text, html=html, reply_to=Mailbox("answers@fernway.example", reply),
        )
    ).content  # fmt: skip
    assert_fit_for_the_wire(content)
    for name, given_name, address in (
        ("To", to, "anna@customer.example"),
        ("From", sender, SENDER.address),
        ("Reply-To", reply, "answers@fernway.example"),
    ):
        written, read_address = parseaddr(field(content, name))
        assert (decoded(written), read_address) == (given_name, address)
    assert decoded(field(content, "Subject")) == subject
    plain, rich = (part.get_payload(decode=True) for part in parsed(content).iter_parts())
    assert (plain, rich) == (ended(text).encode(), ended(html).encode())


@given(to=everyday, sender=everyday, reply=st.none() | everyday, subject=everyday, text=body, html=body)
@example(to="Berg, Anna", sender="Fernway, Supply", reply=None, subject="Thank you", text="", html="")
@settings(max_examples=150, deadline=None)
def test_reading_it_back_gives_what_the_standard_library_gives(
    to: str, sender: str, reply: str | None, subject: str, text: str, html: str
) -> None:
    message = letter(
        to=Mailbox("anna@customer.example", to), sender=Mailbox(SENDER.address, sender), subject=subject, text=text,
        html=html, reply_to=None if reply is None else Mailbox("answers@fernway.example", reply),
        headers={"Feedback-ID": "receipt:thank-you:1:evergreet", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
    )  # fmt: skip
    assert seen(compose(message).content) == seen(as_the_library_writes_it(message))


def test_a_list_unsubscribe_stands_on_one_line_as_it_was_given() -> None:
    lines = compose(letter(headers=ONE_CLICK)).content.split(b"\r\n")
    assert f"List-Unsubscribe: {UNSUBSCRIBE}".encode() in lines
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click" in lines


def test_a_header_that_does_not_fit_on_a_line_is_refused() -> None:
    fits = "x" * (LONGEST_LINE - len("X-Data: "))
    assert f"\r\nX-Data: {fits}\r\n".encode() in compose(letter(headers={"X-Data": fits})).content
    with pytest.raises(Permanent, match="X-Data is longer"):
        compose(letter(headers={"X-Data": fits + "x"}))


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"X-Campaign": "Grüße"}, "not ASCII"),
        ({"X Campaign": "a"}, "name that is none"),
        ({"X-Campaign:": "a"}, "name that is none"),
        ({"": "a"}, "name that is none"),
        ({"Bcc": "evil@example.com"}, "written by Evergreet itself"),
        ({"SUBJECT": "another"}, "written by Evergreet itself"),
        ({"X-A": "1", "x-a": "2"}, "given twice"),
        ({"X-A": "bell\x07"}, "not ASCII"),
    ],
)
def test_an_extra_header_that_cannot_stand_as_it_is_is_refused(headers: dict[str, str], reason: str) -> None:
    with pytest.raises(Permanent, match=reason):
        compose(letter(headers=headers))


@pytest.mark.parametrize("smuggled", ["\r\nBcc: evil@example.com", "\n", "\r", "\0"])
@pytest.mark.parametrize(
    "place",
    [
        lambda text: letter(key=f"1{text}"),
        lambda text: letter(subject=f"Hello{text}"),
        lambda text: letter(to=Mailbox(f"anna@customer.example{text}")),
        lambda text: letter(to=Mailbox("anna@customer.example", f"Anna{text}")),
        lambda text: letter(sender=Mailbox(f"hello@fernway.example{text}")),
        lambda text: letter(sender=Mailbox("hello@fernway.example", f"Fernway{text}")),
        lambda text: letter(reply_to=Mailbox(f"hello@fernway.example{text}")),
        lambda text: letter(reply_to=Mailbox("hello@fernway.example", f"Fernway{text}")),
        lambda text: letter(headers={f"X-A{text}": "1"}),
        lambda text: letter(headers={"X-A": f"1{text}"}),
    ],
)
def test_a_line_break_in_a_header_or_address_is_refused(place: Any, smuggled: str) -> None:
    with pytest.raises(Permanent, match="line break or NUL"):
        compose(place(smuggled))


@pytest.mark.parametrize(
    "address",
    [
        "x@d.co>\r\nRCPT TO:<evil", "x@d.co>,<evil@d.co", "a b@d.co", "a,b@d.co", "a@b@d.co", '"a"@d.co', "@d.co",
        "a@", "a", "", "a..b@d.co", ".a@d.co", "a@d..co", "a@-d.co", "a@[127.0.0.1]", "a@d.co.", "a@d co", "a@b<c",
        "a\tb@d.co", "a\u2028b@d.co", "a\u202eb@d.co", "a@ex\u200bample .com", "a@😀\u200d.com", f"{'a' * 65}@d.co",
        f"a@{'d' * 64}.co", "a@" + ".".join(["d" * 60] * 5), "<a@d.co>", "Anna <a@d.co>", "a@d.co\x7f",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_and_not_repeated_in_the_reason(address: str) -> None:
    with pytest.raises(Permanent) as refused:
        compose(letter(to=Mailbox(address)))
    assert "evil" not in refused.value.reason
    assert not refused.value.address_invalid


def test_a_sender_that_is_none_is_our_fault() -> None:
    with pytest.raises(Misconfigured, match="sender"):
        compose(letter(sender=Mailbox("hello")))
    with pytest.raises(Misconfigured, match="reply"):
        compose(letter(reply_to=Mailbox("hello@")))


def test_international_domains_are_written_in_punycode() -> None:
    mail = compose(letter(to=Mailbox("anna@Bücher.example"), sender=Mailbox("hallo@grüße.example", "Grüße")))
    assert (mail.sender, mail.recipient) == ("hallo@xn--gre-6ka8l.example", "anna@xn--bcher-kva.example")
    assert not mail.international
    assert b"\r\nTo: anna@xn--bcher-kva.example\r\n" in mail.content
    assert b"\r\nMessage-ID: <1.a1b2c3@xn--gre-6ka8l.example>\r\n" in mail.content


def test_an_address_with_letters_beyond_ascii_is_marked_as_international() -> None:
    mail = compose(letter(to=Mailbox("jürgen@bücher.example", "Jürgen, der Erste")))
    assert mail.international
    assert mail.recipient == "jürgen@xn--bcher-kva.example"
    assert (
        "\r\nTo: =?utf-8?b?SsO8cmdlbiwgZGVyIEVyc3Rl?=\r\n <jürgen@xn--bcher-kva.example>\r\n".encode() in mail.content
    )


@pytest.mark.parametrize(
    "name", ["Berg, Anna", 'Anna "Nan" Berg', "Anna <evil@d.co>", "a@b.co, c", "Ann;a", "(Anna)", "Ünna, <x@y.zz>"]
)
def test_a_display_name_never_becomes_a_second_recipient(name: str) -> None:
    content = compose(letter(to=Mailbox("anna@customer.example", name))).content
    (address,) = parsed(content)["To"].addresses
    assert (address.display_name, address.addr_spec) == (name, "anna@customer.example")


def test_the_same_message_gives_the_same_bytes_and_another_key_another_message_id() -> None:
    assert compose(letter()) == compose(letter())
    assert parsed(compose(letter("2.ff")).content)["Message-ID"] == "<2.ff@fernway.example>"


@pytest.mark.parametrize("key", ["", "a b", "a@b", "ä", "a..b", "x" * 201, "<a>"])
def test_a_key_that_is_no_message_id_is_refused(key: str) -> None:
    with pytest.raises(Permanent, match="key"):
        compose(letter(key))


def test_half_a_character_is_refused_wherever_it_stands() -> None:
    for broken in (
        letter(subject="\ud800"),
        letter(text="\ud800"),
        letter(html="\ud800"),
        letter(to=Mailbox("a@b.co", "\ud800")),
    ):
        with pytest.raises(Permanent):
            compose(broken)


def test_messages_of_one_sender_differ_only_in_what_was_filled_in() -> None:
    first, second = compose(letter()).content, compose(replace(letter(), subject="Another")).content
    assert first.replace(b"Subject: Thank you for your order", b"Subject: Another") == second


def test_the_skeleton_of_a_sender_is_built_once() -> None:
    sender = Mailbox("once@fernway.example", "Fernway")
    before = _skeleton.cache_info().misses
    for n in range(5):
        compose(letter(f"{n}.a", sender=sender, headers={"X-N": str(n)}))
    assert _skeleton.cache_info().misses == before + 1
