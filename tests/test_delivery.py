"""Windows for connectors that send messages of one skeleton in one request."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from sqlalchemy import update
from sqlmodel import col

from evergreet.campaign import TRANSACTIONAL, Campaign, Email, Purpose, event
from evergreet.composing import Composer
from evergreet.contracts import Capabilities, EmailMessage, Outcome
from evergreet.splitting import filled
from evergreet.template_sources import TemplateSource
from models import Contact
from tests.story import Recorder, Story

NEWS = Campaign(name="news", topic="news", trigger=event("signed_up"), steps=(Email("letter", template="letter"),))
LETTER = TemplateSource(
    name="letter",
    hash="1" * 64,
    sources={
        "letter/subject.txt": "News",
        "letter/body.html": "{% if contact.vip|default(false) %}<b>{% endif %}{{ contact.first_name }}"
        "{% if contact.page is defined %}<style data-inline>b { color: red }</style>{% endif %} {{ unsubscribe_url }}",
        "letter/body.txt": "{{ contact.first_name }} {{ unsubscribe_url }}",
    },
)


def letter(_name: str, _purpose: Purpose) -> TemplateSource:
    return LETTER


@dataclass
class Splitter(Recorder):
    """Keeps its requests apart."""

    capabilities: ClassVar[Capabilities] = Capabilities(batch_limit=1000, window=10, splits=True, find=True)
    requests: list[list[EmailMessage]] = field(default_factory=list)

    def send(self, batch: Sequence[EmailMessage]) -> list[Outcome]:
        with self.lock:
            self.requests.append(list(batch))
        return super().send(batch)


@pytest.fixture
def sender(story: Story) -> Splitter:
    story.load = letter
    story.sender = made = Splitter()
    return made


def audience(story: Story, count: int = 60) -> list[int]:
    """Contacts with and without `vip`; each ninth is sent a page of its own style."""
    made = []
    for n in range(count):
        attributes: dict[str, Any] = {"first_name": f"C{n}", "vip": n % 2 == 0}
        if n % 9 == 4:
            attributes["page"] = True
        made.append(story.contact(f"c{n}", consents=["news"], attributes=attributes))
    return made


def test_a_request_holds_messages_of_one_skeleton_and_what_has_none_goes_alone(story: Story, sender: Splitter) -> None:
    story.launch(NEWS)
    story.happened("signed_up", *audience(story))
    assert story.run(NEWS).attempted == {"accepted": 60}
    assert len(sender.recipients) == len(set(sender.recipients)) == 60
    for batch in sender.requests:
        keys = {message.split.skeleton.key if message.split else None for message in batch}
        assert len(keys) == 1
        assert len(batch) <= (1 if keys == {None} else 10)
        for message in batch:
            assert message.split is None or filled(message.split) == (message.subject, message.html, message.text)
    sizes = Counter(len(batch) for batch in sender.requests)
    assert sizes[10] >= 4
    assert max(sizes) == 10


def test_what_cannot_be_rendered_fails_by_itself_as_ever(story: Story, sender: Splitter) -> None:
    sources = LETTER.sources | {"letter/subject.txt": "{{ contact.nick }}"}
    story.load = lambda _name, _purpose: TemplateSource("letter", "2" * 64, sources)
    story.launch(NEWS)
    contacts = audience(story, 30)
    with story.database.write() as connection:
        nicks = update(Contact).where(col(Contact.id).in_(contacts[8:]))
        connection.execute(nicks.values(attributes={"first_name": "Ann", "nick": "Nick"}))
    story.happened("signed_up", *contacts)
    story.run(NEWS)
    states = story.states()
    assert states.pop("accepted") == len(sender.sent) == 22
    assert sum(states.values()) == 8
    assert all(state.startswith("failed: template: letter/subject.txt, line 1: there is no 'nick'") for state in states)


def test_a_contact_that_changes_after_its_message_was_rendered_gets_the_new_one(
    story: Story, sender: Splitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.settings = story.settings.model_copy(update={"threads": 1})
    story.launch(NEWS)
    contacts = audience(story, 40)
    story.happened("signed_up", *contacts)
    changed: list[int] = []

    def send(batch: Sequence[EmailMessage]) -> list[Outcome]:
        if not changed:  # all messages of the chunk are rendered by now
            waiting = [n for n in range(40) if f"c{n}@example.org" not in {message.to.address for message in batch}]
            changed.append(waiting[-1])
            with story.database.write() as connection:
                connection.execute(
                    update(Contact)
                    .where(col(Contact.id) == contacts[waiting[-1]])
                    .values(attributes={"first_name": "New"}, changed_at=story.now + timedelta(seconds=1))
                )
        return Splitter.send(sender, batch)

    monkeypatch.setattr(sender, "send", send)
    story.run(NEWS)
    story.run(NEWS)
    assert story.states() == {"accepted": 40}
    (message,) = [one for one in sender.sent if one.to.address == f"c{changed[0]}@example.org"]
    assert message.text.startswith("New ")


def test_a_transactional_message_waits_for_no_other(
    story: Story, sender: Splitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipts = Campaign(
        name="receipts",
        topic="news",
        trigger=event("signed_up"),
        steps=(Email("receipt", template="letter", purpose=TRANSACTIONAL),),
    )
    story.settings = story.settings.model_copy(update={"threads": 1})
    rendered: list[int] = []
    compose = Composer.compose

    def watched(composer: Composer, one: Any, now: Any) -> EmailMessage:
        rendered.append(len(sender.requests))
        return compose(composer, one, now)

    monkeypatch.setattr(Composer, "compose", watched)
    story.launch(receipts)
    story.happened("signed_up", *audience(story, 12))
    assert story.run(receipts).attempted == {"accepted": 12}
    assert {len(batch) for batch in sender.requests} == {1}
    assert max(rendered) > 6  # not all ahead


def test_memory_that_runs_out_ends_the_worker_and_a_message_only_where_it_is_to_blame(
    story: Story, sender: Splitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.launch(NEWS)
    story.happened("signed_up", *audience(story, 3))
    real = Composer.compose

    def compose(composer: Composer, one: Any, now: Any) -> EmailMessage:
        if one.address.startswith(guilty):
            raise MemoryError
        return real(composer, one, now)

    monkeypatch.setattr(Composer, "compose", compose)
    guilty = ""
    with pytest.raises(MemoryError):
        story.run(NEWS)
    assert story.states() == {"planned": 3}
    guilty = "c1@"
    for _ in range(2):
        with pytest.raises(MemoryError):
            story.run(NEWS)
    story.run(NEWS)
    assert story.states() == {"accepted": 2, "failed: poison: in hand when its worker died": 1}


def test_a_template_that_runs_out_of_memory_says_so_itself(
    story: Story, sender: Splitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rendering does not call it an error of the template."""
    story.launch(NEWS)
    story.happened("signed_up", story.contact("ana", consents=["news"], attributes={"first_name": "Ana"}))
    monkeypatch.setattr("evergreet.rendering.tidy", _no_memory)
    with pytest.raises(MemoryError):
        story.run(NEWS)


def _no_memory(_: str) -> str:
    raise MemoryError
