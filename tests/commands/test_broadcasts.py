"""`evergreet broadcasts` and `evergreet record` as a person types them, on the embedded default."""

import json
import shlex
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner, Result

from evergreet.balance import Report
from evergreet.broadcasts import announcements, waiting_for_a_word
from evergreet.campaign import TRANSACTIONAL, Campaign, Email, broadcast
from evergreet.cli import app
from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.errors import EvergreetError
from evergreet.orchestration.artifacts import campaign_page
from models import AuditLog, Event
from tests.story import Story

NEWS = Campaign(
    name="news",
    trigger=broadcast("product_launched", key="product_id"),
    steps=(Email("news", template="note", purpose=TRANSACTIONAL),),
    confirm_above=1,
)


@pytest.fixture
def store(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Story:
    """A live campaign that announces products, and three contacts."""
    monkeypatch.setenv("EVERGREET_DATABASE_URL", sqlite_url)
    story = Story(Database(sqlite_url), FrozenClock(datetime.now(UTC)))
    story.contacts(3)
    story.launch(NEWS)
    return story


def evergreet(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def said(*words: str) -> str:
    result = evergreet(*words)
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.output


def launched(store: Story, product: str, name: str = "Trail Lantern") -> None:
    """Say that a product is there, and let the campaign see it."""
    said("record", "product_launched", "--id", product, "--set", f"product_id={product}", "--set", f"name={name}")
    run(store)


def run(store: Story) -> Report:
    """Run the campaign now, as the commands know now."""
    store.clock.instant = datetime.now(UTC)
    return store.run(NEWS)


def test_a_broadcast_waits_in_sight_until_somebody_confirms_it(store: Story) -> None:
    assert "There is no broadcast yet" in said("broadcasts")
    launched(store, "Lantern 2")
    assert store.enrollments == []
    (listed,) = json.loads(said("broadcasts", "news", "--json"))
    assert (listed["occurrence"], listed["state"], listed["recipients"]) == (
        "product_launched:Lantern 2", "waiting", 3,
    )  # fmt: skip
    assert listed["properties"] == {"product_id": "Lantern 2", "name": "Trail Lantern"}
    question = "1 broadcast waits for your word: 3 recipients of product_launched:Lantern 2; "
    assert f"news: {question}" in said("campaigns")
    launched(store, "Lantern 2", name="Trail Lantern II")  # corrected while there is time
    (listed,) = json.loads(said("broadcasts", "--json"))
    assert listed["properties"] == {"product_id": "Lantern 2", "name": "Trail Lantern II"}
    (campaign,) = json.loads(said("campaigns", "--json"))
    assert campaign["waiting"] == [{"occurrence": "product_launched:Lantern 2", "recipients": 3}]
    command = said("broadcasts").partition(question)[2].strip()
    assert command == "evergreet broadcasts confirm news 'product_launched:Lantern 2' --recipients 3"

    store.contact("late")
    refused = evergreet(*shlex.split(command)[1:])
    assert isinstance(refused.exception, EvergreetError)
    assert "would go to 4 contacts now, more than the 3 confirmed" in str(refused.exception)
    assert "goes to 4 contacts" in said(*shlex.split(command.replace(" 3", " 4"))[1:])
    run(store)
    assert store.states() == {"accepted": 4}
    why = str(evergreet(*shlex.split(command)[1:]).exception)
    assert "does not wait any more: it is frozen and goes to 4 contacts (confirmed by " in why
    assert "`evergreet pause news` holds what has not left yet." in why
    (frozen,) = json.loads(said("broadcasts", "--json"))
    assert (frozen["state"], frozen["recipients"]) == ("frozen", 4)
    assert "(command line)" in frozen["decided_by"]


def test_a_cancelled_broadcast_goes_to_nobody(store: Story) -> None:
    launched(store, "P-1")
    assert "is cancelled; nobody gets it" in said("broadcasts", "cancel", "news", "product_launched:P-1")
    run(store)
    assert (store.enrollments, store.messages) == ([], [])
    assert "cancelled" in said("broadcasts", "list", "news")
    assert "waits for your word" not in said("campaigns")
    assert [row.action for row in store.rows(AuditLog)][-1] == "broadcast cancelled"
    cancelled = evergreet("broadcasts", "cancel", "news", "product_launched:P-1").exception
    assert "does not wait any more: it is cancelled (" in str(cancelled)
    assert "has no broadcast 'P-1'" in str(evergreet("broadcasts", "cancel", "news", "P-1").exception)


def test_the_page_of_a_run_says_what_waits(store: Story) -> None:
    launched(store, "P-1")
    launched(store, "P-2")
    with store.database.read() as connection:
        waiting = waiting_for_a_word(announcements(connection, "news"))
    page = campaign_page(run(store), waiting)
    assert (
        "\n\n**2 broadcasts wait for your word: 3 recipients of product_launched:P-2; evergreet broadcasts confirm "
        "news product_launched:P-2 --recipients 3; or 3 recipients of product_launched:P-1; "
    ) in page
    assert "your word" not in campaign_page(run(store))


def test_the_same_event_again_changes_nothing_and_other_content_is_a_correction(store: Story) -> None:
    lantern = ("record", "product_launched", "--id", "P-1", "--set", "product_id=P-1")
    assert "is stored" in said(*lantern)
    assert "is known already; nothing changed" in said(*lantern)
    (row,) = store.rows(Event)
    assert (row.contact_id, row.source, row.source_id, row.properties) == (None, "record", "P-1", {"product_id": "P-1"})
    assert "is corrected; a correction starts no campaign" in said(*lantern, "--set", "price=12.5")
    assert [(row.revision, row.superseded, row.occurred_at) for row in store.rows(Event)] == [
        (0, True, row.occurred_at), (1, False, row.occurred_at),
    ]  # fmt: skip
    for _ in range(2):  # without an id, each is one of its own
        said("record", "shop_opened")
    assert len(store.rows(Event)) == 4


def test_a_name_that_nobody_used_before_is_told_and_what_may_have_been_meant(store: Story) -> None:
    launched = said("record", "Product lanched")
    assert "Product lanched about the business (" in launched
    assert "the first event of this name here; did you mean product_launched?" in launched
    assert "first event" not in said("record", "Product lanched")
    assert said("record", "product_launched").endswith("It is the first event of this name here.\n")
    order = said("record", "order_placed", "--contact", "1", "--json")
    assert json.loads(order)["first"] is True


def test_an_event_about_a_contact_is_found_by_address_and_id(store: Story) -> None:
    ana = store.contact("ana")
    for who in ("ANA@example.org", str(ana)):
        told = json.loads(
            said("record", "order_placed", "--contact", who, "--id", "A-1", "--at", "2026-03-01", "--json",
                 "--set", "amount=12", "--set", "sku:text=007", "--set", "gift:boolean=yes")
        )  # fmt: skip
        assert (told["source"], told["source_id"]) == ("record", "A-1")
    assert told["result"] == "duplicate"
    (row,) = store.rows(Event)
    assert (row.contact_id, row.properties) == (ana, {"amount": 12, "sku": "007", "gift": True})
    assert row.occurred_at == datetime(2026, 3, 1, tzinfo=UTC)
    store.contact("anna", address="ana@example.org")
    both = evergreet("record", "x", "--contact", "ana@example.org").exception
    assert "2 contacts are 'ana@example.org'; say which one by its id" in str(both)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("product_launched", "--contact", "nobody"), "There is no contact 'nobody'"),
        ((" ",), "no name: name is empty"),
        (("x" * 101,), "name has 101 characters"),
        (("x", "--at", "2999-01-01"), "in the future"),
        (("x", "--at", "yesterday"), "is not a time"),
        (("x", "--set", "price"), "write --set NAME=VALUE"),
        (("x", "--set", "price:number=much"), "not a number"),
        (("x", "--set", "text=a\0b"), "NUL character"),
        (("x", "--id", "i" * 256), "source_id has 256 characters"),
    ],
)
def test_what_an_import_would_reject_is_a_sentence_and_stores_nothing(
    words: tuple[str, ...], says: str, store: Story
) -> None:
    result = evergreet("record", *words)
    assert isinstance(result.exception, EvergreetError)
    assert says in str(result.exception)
    assert store.rows(Event) == []
