"""Each preset tells a story through all its stages, and sorts the people of the real log and of the sample shop."""

import csv
import gzip
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from sqlalchemy import insert, select

from evergreet.clock import FrozenClock
from evergreet.conditions import leaves
from evergreet.database import Database, ingest_position
from evergreet.errors import DefinitionError
from evergreet.lifecycle import LIFE_STAGES, PRESETS, Lifecycle, lifecycle
from evergreet.presets.vocabulary import EXPANSION, PURCHASED
from evergreet.stages import evaluate_stages
from models import Contact, Event, Table
from tests.conftest import NOW

TRANSITION = Table.metadata.tables["transition"]
BEGIN = datetime(2026, 1, 1, 12, tzinfo=UTC)

MODELS = {
    "discovery": ["Discovery", "Education", "Purchase", "Post-purchase engagement", "Advocacy"],
    "experience": [
        "Awareness", "Engagement", "Evaluation", "Purchase", "Product and support experience", "Bonding",
    ],
    "loyalty": ["Awareness", "Engagement", "Conversion", "Retention", "Loyalty"],
    "retention": ["Onboarding", "Support", "Adoption", "Engagement", "Expansion"],
    "reach": ["Reach", "Acquire", "Develop and nurture", "Retain", "Advocacy"],
}  # fmt: skip


@dataclass
class Life:
    """One store, one clock, one lifecycle; days are counted from `BEGIN`."""

    database: Database
    clock: FrozenClock
    rules: Lifecycle

    def happened(self, events: Iterable[tuple[str, datetime, str, dict[str, object]]]) -> None:
        """Store events (contact, time, name, properties) and the contacts that are new."""
        rows = list(events)
        with self.database.write() as connection:
            known = set(connection.execute(select(Contact.__table__.c.source_id)).scalars())  # type: ignore[attr-defined]
            stamps = {"source": "test", "position": ingest_position(connection)}
            moments = {"created_at": self.clock.instant, "changed_at": self.clock.instant}
            new = [{"source_id": one, **stamps, **moments} for one in dict.fromkeys(row[0] for row in rows)]
            if new := [row for row in new if row["source_id"] not in known]:
                connection.execute(insert(Contact), new)
            contact = Contact.__table__.c  # type: ignore[attr-defined]
            ids = dict(connection.execute(select(contact.source_id, contact.id)).tuples().all())
            connection.execute(
                insert(Event),
                [
                    {"contact_id": ids[one], "name": name, "occurred_at": at, "properties": properties,
                     "source_id": f"{self.clock.instant:%F}-{number}", "ingested_at": self.clock.instant, **stamps}
                    for number, (one, at, name, properties) in enumerate(rows)
                ],
            )  # fmt: skip

    def on_day(self, day: int, *names: str, **properties: object) -> None:
        """Let the clock stand at noon of that day, let these events happen then, and move the contact."""
        self.clock.instant = BEGIN + timedelta(days=day)
        if names:
            self.happened(("ann", self.clock.instant, name, properties) for name in names)
        evaluate_stages(self.database, self.rules, self.clock)

    def path(self) -> list[str]:
        """Return the stages of the one contact, in order."""
        return [stage for path in self.paths().values() for stage in path]

    def paths(self) -> dict[str, list[str]]:
        """Return the stages of each contact, by source id."""
        contact = Contact.__table__.c  # type: ignore[attr-defined]
        asked = (
            select(contact.source_id, TRANSITION.c.to_stage)
            .join(Contact, contact.id == TRANSITION.c.contact_id)
            .order_by(TRANSITION.c.id)
        )
        found: dict[str, list[str]] = {}
        with self.database.read() as connection:
            for one, stage in connection.execute(asked).tuples():
                found.setdefault(one, []).append(stage)
        return found


@pytest.fixture
def life(request: pytest.FixtureRequest, database: Database, clock: FrozenClock) -> Life:
    return Life(database, clock, lifecycle(request.param))


def told_for(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("life", [name], indirect=True)


@told_for("discovery")
def test_discovery_leads_from_a_first_visit_to_advocacy_and_back(life: Life) -> None:
    life.on_day(0, "page_viewed")
    life.on_day(2, "guide_viewed")
    life.on_day(5, "order_placed")
    life.on_day(8, "order_delivered")
    life.on_day(20, "review_submitted", rating=2)  # a complaint recommends nothing
    life.on_day(25, "referral_sent")
    life.on_day(30, "refund_requested")
    life.on_day(30 + 181)
    life.on_day(30 + 181 + 91)
    assert life.path() == [
        "discovery", "education", "purchase", "post_purchase", "advocacy", "post_purchase", "education", "discovery",
    ]  # fmt: skip


@told_for("discovery")
def test_a_good_review_makes_an_advocate_and_two_weeks_pass_for_a_delivery(life: Life) -> None:
    life.on_day(0, "page_viewed")
    life.on_day(1, "page_viewed")
    life.on_day(2, "page_viewed")
    life.on_day(3, "order_placed")
    life.on_day(18)
    life.on_day(20, "review_submitted", rating=5)
    life.on_day(40, "order_placed")
    assert life.path() == ["discovery", "education", "purchase", "post_purchase", "advocacy", "purchase"]


@told_for("experience")
def test_experience_leads_to_a_bond_and_back_to_a_purchase(life: Life) -> None:
    life.on_day(0, "page_viewed")
    life.on_day(1, "product_viewed")
    life.on_day(2, "product_added")
    life.on_day(3, "order_placed")
    life.on_day(6, "order_delivered")
    life.on_day(36, "login")
    life.on_day(37, "order_placed")
    assert life.path() == [
        "awareness", "engagement", "evaluation", "purchase", "experience", "bonding", "purchase",
    ]  # fmt: skip


@told_for("loyalty")
def test_loyalty_comes_with_the_third_order_of_a_year(life: Life) -> None:
    life.on_day(0, "page_viewed")
    life.on_day(1, "product_added")
    life.on_day(2, "order_placed")
    life.on_day(6, "order_delivered")
    life.on_day(50, "order_placed")
    life.on_day(65)  # two weeks later, delivered or not said
    life.on_day(100, "order_placed")
    life.on_day(101, "support_ticket_opened")
    life.on_day(102, "review_submitted")  # is a review, and no loyalty yet
    life.on_day(103, "referral_sent")
    life.on_day(104, "order_placed")  # loyal already
    life.on_day(104 + 121)
    life.on_day(104 + 121 + 181)
    life.on_day(104 + 121 + 181 + 91)
    assert life.path() == [
        "awareness", "engagement", "conversion", "retention", "conversion", "retention", "loyalty", "retention",
        "loyalty", "retention", "engagement", "awareness",
    ]  # fmt: skip


@told_for("retention")
def test_retention_leads_from_the_first_steps_over_support_to_expansion(life: Life) -> None:
    life.on_day(0, "account_created")
    life.on_day(1, "support_ticket_opened")
    life.on_day(2, "support_ticket_solved")
    life.on_day(3, "product_used")
    life.on_day(8, "product_used")
    life.on_day(10, "product_used")  # the third time, after a week
    life.on_day(20, "seats_added")
    life.on_day(51)  # a month after buying more
    life.on_day(51 + 61)
    life.on_day(51 + 61 + 121)
    assert life.path() == [
        "onboarding", "support", "adoption", "engagement", "expansion", "engagement", "adoption", "onboarding",
    ]  # fmt: skip


@told_for("retention")
def test_a_customer_in_trouble_is_back_two_weeks_after_the_last_question(life: Life) -> None:
    life.on_day(0, "order_placed")
    life.on_day(5, "support_chat")
    life.on_day(12, "refund_requested")
    life.on_day(20)
    life.on_day(27)
    life.on_day(30, "order_placed")
    assert life.path() == ["onboarding", "adoption", "support", "adoption", "expansion"]


@told_for("reach")
def test_reach_leads_over_the_first_and_second_purchase_to_advocacy(life: Life) -> None:
    life.on_day(0, "page_viewed")
    life.on_day(1, "product_viewed")
    life.on_day(2, "order_placed")
    life.on_day(9, "product_reviewed", rating=1)
    life.on_day(40, "order_placed")
    life.on_day(41, "referral_sent")
    life.on_day(44, "support_chat")
    life.on_day(45, "product_reviewed", rating=5)
    life.on_day(45 + 181)
    life.on_day(45 + 181 + 91)
    assert life.path() == [
        "reach", "acquire", "develop", "retain", "advocacy", "retain", "advocacy", "acquire", "reach",
    ]  # fmt: skip


@told_for("experience")
def test_who_was_sorted_by_another_model_goes_on_from_the_stage_that_stands_for_theirs(life: Life) -> None:
    life.on_day(0, "product_added")
    life.rules = lifecycle("loyalty")  # has no evaluation: that is part of Engagement here
    life.on_day(1, "order_placed")
    life.rules = lifecycle("experience")  # has no conversion: it stands for a purchase there
    life.on_day(2, "product_viewed")
    life.on_day(3, "support_chat")
    life.rules = lifecycle("reach")  # has no experience: it stands for onboarding there, which is Develop here
    life.on_day(4, "referral_sent")
    assert life.path() == ["awareness", "evaluation", "conversion", "experience", "advocacy"]
    life.rules = lifecycle("discovery")
    life.on_day(4 + 181)  # nothing but time
    assert life.path()[-1] == "education"


@pytest.mark.parametrize("name", PRESETS)
def test_no_customer_of_another_model_begins_anew(name: str) -> None:
    """Who is further on in one model is not in the first stage of another, but where that has nothing like it."""
    rules = lifecycle(name)
    lost = {
        stage.name
        for other in PRESETS
        for stage in lifecycle(other).stages[1:]
        if rules.counts_as(stage.name) == rules.first.name
    }
    customers_from_the_start = {"evaluation", "experience", "post_purchase"}  # the latter two are onboarding there
    assert lost == (customers_from_the_start if name == "retention" else {"support"})
    assert rules.counts_as("vip") == rules.first.name


def test_the_presets_are_the_five_published_models() -> None:
    assert {name: [stage.title for stage in lifecycle(name).stages] for name in PRESETS} == MODELS


@pytest.mark.parametrize("name", PRESETS)
def test_every_stage_of_a_preset_can_be_reached_and_left(name: str) -> None:
    rules = lifecycle(name)
    reached = {rules.first.name}
    for _ in rules.stages:
        reached |= {rule.to for rule in rules.rules if reached & set(rules.sources(rule))}
    assert reached == {stage.name for stage in rules.stages}
    for stage in rules.stages:
        assert any(stage.name in rules.sources(rule) for rule in rules.rules), stage.name


@pytest.mark.parametrize("name", PRESETS)
def test_a_purchase_means_only_stages_that_nothing_but_a_purchase_leads_to(name: str) -> None:
    """Whoever starts from `stage_entered("purchase")` thanks for an order: a ticket must not set it off."""
    rules = lifecycle(name)
    for stage in rules.meaning("purchase"):
        assert stage != rules.first.name
        for rule in rules.rules:
            assert rule.to != stage or (rule.on and set(rule.on) <= {*PURCHASED, *EXPANSION})


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_what_it_stands_for(name: str) -> None:
    rules = lifecycle(name)
    missing = {"expansion"} if name != "retention" else {"awareness", "evaluation", "advocacy"}
    for word in LIFE_STAGES:
        if word in missing:
            with pytest.raises(DefinitionError, match=f"none that stands for it.*it knows: {rules.first.name}"):
                rules.meaning(word)
        else:
            assert rules.meaning(word)


@pytest.mark.parametrize("name", PRESETS)
def test_each_rule_says_what_it_is_about_and_asks_for_something_sensible(name: str) -> None:
    for rule in lifecycle(name).rules:
        assert rule.about.endswith(".")
        assert rule.on or leaves(rule.when)


# The people of the real log and of the sample shop: who did what is read from the files once more, in plain Python.


def read_log(fixtures: Path) -> list[tuple[str, datetime, str, dict[str, object]]]:
    with gzip.open(fixtures / "data" / "retentioneering_ecom.csv.gz", "rt", encoding="utf-8") as file:
        return [
            (row["user_id"], datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC), row["event"], {})
            for row in csv.DictReader(file)
        ]


def read_shop(folder: Path) -> list[tuple[str, datetime, str, dict[str, object]]]:
    from evergreet.demo.shop import make_shop

    shop = make_shop(folder, until=NOW, customers=250)
    with gzip.open(shop.events) as file:
        rows = [orjson.loads(line) for line in file]
    return [
        (row["contact"], datetime.fromisoformat(row["occurred_at"]), row["name"], row["properties"]) for row in rows
    ]


@pytest.mark.parametrize("people", ["log", "shop"])
@pytest.mark.parametrize("name", [name for name in PRESETS if name != "experience"])  # tests/test_stages.py folds it
def test_people_of_the_log_and_the_shop_go_through_the_stages(
    name: str, people: str, sqlite_url: str, clock: FrozenClock, fixtures: Path, tmp_path: Path
) -> None:
    rows = read_log(fixtures) if people == "log" else read_shop(tmp_path)
    clock.instant = max(at for _, at, _, _ in rows) + timedelta(days=1)
    life = Life(Database(sqlite_url), clock, lifecycle(name))
    life.happened(rows)
    evaluate_stages(life.database, life.rules, clock)
    clock.advance(timedelta(days=400))
    evaluate_stages(life.database, life.rules, clock)
    paths = life.paths()
    entered = Counter(stage for path in paths.values() for stage in set(path))
    did: dict[str, set[str]] = {}
    for one, _, event, _ in rows:
        did.setdefault(event, set()).add(one)
    bought = did.get("purchase", set()) | did.get("order_placed", set())
    asked = (
        did.get("support_chat", set()) | did.get("support_ticket_opened", set()) | did.get("refund_requested", set())
    )

    def came_to(*stages: str) -> set[str]:
        return {one for one, path in paths.items() if set(stages) & set(path)}

    assert set(paths) == {one for one, _, _, _ in rows} == came_to(life.rules.first.name)
    assert people == "log" or all(entered[stage.name] for stage in life.rules.stages)  # the log has no reviews
    match name:
        case "discovery":
            assert came_to("purchase") == came_to("post_purchase") == bought
            assert came_to("advocacy") <= bought & did.get("review_submitted", set())
        case "loyalty":
            assert came_to("conversion") == came_to("retention") == bought
            thrice = {one for one in bought if sum(row[0] == one and row[2] in PURCHASED for row in rows) >= 3}
            assert came_to("loyalty") <= thrice
            assert entered["loyalty"] > 0
            assert people == "shop" or came_to("loyalty") == thrice  # the log is shorter than a year
        case "retention":
            assert came_to("support") == asked
            assert bought <= came_to("adoption")
            assert came_to("expansion") <= bought
            assert min(entered[stage.name] for stage in life.rules.stages) > 0
        case "reach":
            assert came_to("develop") == bought
            twice = {one for one in bought if sum(row[0] == one and row[2] in PURCHASED for row in rows) >= 2}
            assert twice - did.get("review_submitted", set()) <= came_to("retain")
    life.database.close()
