"""Mails that come back have the effect of a webhook, once, and only where they are about a message that was sent."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from connectors.email.smtp import Smtp
from evergreet.bounces.maildir import Maildir
from evergreet.bounces.taking import LARGEST, Taken, take
from evergreet.errors import ConfigurationError
from evergreet.tokens import Tokens
from models import Event, ProviderEvent
from tests.bounces.reports import GONE, POSTFIX, VACATION, answer, arf, dsn
from tests.feedback.test_applying import agreed, clean, delivery, sent, suppressions
from tests.story import Story


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    for folder in ("new", "cur", "tmp"):
        (tmp_path / "bounces" / folder).mkdir(parents=True)
    return tmp_path / "bounces"


def deliver(inbox: Path, *mails: bytes) -> None:
    for mail in mails:
        number = len([*inbox.glob("*/*")]) + 1
        (inbox / "new" / f"{number:03}.M1P1.mx").write_bytes(mail)


def listed(inbox: Path) -> list[str]:
    return sorted(f"{file.parent.name}/{file.name}" for file in inbox.glob("*/*"))


def taken(story: Story, inbox: Path, *, seen: bool = False) -> Taken:
    tokens = Tokens([key.get_secret_value() for key in story.settings.secret_keys])
    return take(story.database, Smtp, Maildir(inbox), tokens, story.clock, seen=seen)[0]


def keys(story: Story, addresses: Sequence[str]) -> list[str]:
    return [next(mail.key for mail in story.sender.sent if mail.to.address == address) for address in addresses]


def test_a_bounce_suppresses_its_address_once_and_the_mail_is_marked(story: Story, inbox: Path) -> None:
    ana, ben = sent(story, "ana", "ben")
    key, other = keys(story, ["ana@example.org", "ben@example.org"])
    full = dsn(
        other, "ben@example.org", {**POSTFIX, **GONE, "Status": "5.2.2", "Diagnostic-Code": "smtp; 552 5.2.2 full"}
    )
    deliver(inbox, dsn(key, "Ana@EXAMPLE.org"), VACATION, full)
    assert taken(story, inbox) == Taken(reports=2, others=1, told=2)
    assert listed(inbox) == ["cur/001.M1P1.mx:2,S", "cur/003.M1P1.mx:2,S", "new/002.M1P1.mx"]
    assert suppressions(story) == {"ana@example.org": ("all", "hard_bounce", "webhook:smtp")}
    assert {row.address: row.delivery for row in story.messages} == {
        "ana@example.org": "hard_bounced", "ben@example.org": "soft_bounced",
    }  # fmt: skip
    assert agreed(story, ana) == agreed(story, ben), "a bounce takes back no consent"
    assert taken(story, inbox) == Taken(others=1)
    assert taken(story, inbox, seen=True) == Taken(reports=2, others=1, told=2), "and is known by its id"
    assert len(story.rows(ProviderEvent)) == 2
    assert story.states() == {"accepted": 2}
    assert clean(story)


def test_a_report_counts_only_with_the_key_of_a_message_and_the_address_it_went_to(story: Story, inbox: Path) -> None:
    sent(story, "ana", "ben")
    key, other = keys(story, ["ana@example.org", "ben@example.org"])
    forged = [
        dsn("0" * 32, "ana@example.org"), dsn(key, "ben@example.org"), dsn(other, "ana@example.org"),
        dsn(key, "nobody@example.org"), dsn(key, "no address"), dsn("", "ana@example.org"), dsn(key, returned=""),
        arf(other, "ana@example.org"), dsn(key, "ana@example.org", GONE),
    ]  # fmt: skip
    deliver(inbox, *forged)
    assert taken(story, inbox) == Taken(reports=len(forged), not_ours=len(forged))
    assert suppressions(story) == {}
    assert story.rows(ProviderEvent) == []
    assert delivery(story) is None
    assert taken(story, inbox) == Taken()
    deliver(inbox, arf(key, "ana@example.org"))
    assert taken(story, inbox).told == 1
    assert suppressions(story) == {"ana@example.org": ("all", "complaint", "webhook:smtp")}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # what is asked of the store is asked above
def test_an_answer_is_an_event_and_stays_for_whoever_reads_the_mailbox(story: Story, inbox: Path) -> None:
    (ana, _), text = sent(story, "ana", "ben"), "ana@example.org"
    (key,) = keys(story, [text])
    deliver(inbox, answer(key), answer(key, "ben@example.org"), answer("0" * 32), dsn(key))
    assert taken(story, inbox) == Taken(reports=1, others=3, told=1, replies=1)
    assert taken(story, inbox) == Taken(others=3, replies=1)
    assert [name for name in listed(inbox) if name.startswith("new/")] == [f"new/00{n}.M1P1.mx" for n in (1, 2, 3)]
    (event,) = [row for row in story.rows(Event) if row.name == "email_replied"]
    assert event.contact_id == ana
    assert len(story.rows(ProviderEvent)) == 2


def test_a_mail_is_marked_only_once_what_it_tells_is_stored(
    story: Story, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent(story, "ana")
    (key,) = keys(story, ["ana@example.org"])
    deliver(inbox, dsn(key))
    with monkeypatch.context() as patched:
        patched.setattr("evergreet.bounces.taking.store", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            taken(story, inbox)
    assert listed(inbox) == ["new/001.M1P1.mx"]
    with monkeypatch.context() as patched:
        patched.setattr(Maildir, "mark", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            taken(story, inbox)
    assert taken(story, inbox).told == 1
    assert [row.result for row in story.rows(ProviderEvent)] == ["applied"]


def test_a_folder_is_read_as_mail_programs_leave_it(inbox: Path) -> None:
    (inbox / "cur" / "1.mx:2,F").write_bytes(b"flagged")
    (inbox / "cur" / "2.mx:2,RS").write_bytes(b"seen")
    (inbox / "new" / "3.mx").write_bytes(b"x" * (LARGEST + 1))
    (inbox / "new" / ".hidden").write_bytes(b"")
    maildir = Maildir(inbox)
    found = dict(maildir.mails(seen=False))
    assert {name: len(mail) for name, mail in found.items()} == {"new/3.mx": LARGEST, "cur/1.mx:2,F": 7}
    maildir.mark([*found, "new/vanished"])
    assert listed(inbox) == ["cur/1.mx:2,FS", "cur/2.mx:2,RS", "cur/3.mx:2,S", "new/.hidden"]
    with pytest.raises(ConfigurationError, match="is no Maildir"):
        Maildir(inbox / "cur")
