"""Campaigns through a real Prefect server and worker, with mail to a real SMTP server."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate, GlobalConcurrencyLimitCreate
from prefect.client.schemas.objects import FlowRun

from evergreet.campaign import TRANSACTIONAL, Campaign, Email, event
from evergreet.orchestration.limits import ensure_limits
from evergreet.settings import settings
from flows.thank_you import Options, campaign
from tests.orchestration.shop import CANARIES, Shop, until
from tests.story import note

pytestmark = [pytest.mark.prefect_server, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def live(shop: Shop) -> Iterator[None]:
    """Every test begins with a live campaign, an open mail server and nothing due."""
    shop.launch(campaign, Options())
    yield
    shop.mailbox.seconds = 0.0
    shop.mailbox.refusing = False


@contextmanager
def held(shop: Shop) -> Iterator[None]:
    """Keep the mail server from answering."""
    shop.mailbox.held = True
    try:
        yield
    finally:
        shop.mailbox.held = False


def completed(run: FlowRun) -> FlowRun:
    assert run.state is not None
    assert run.state.is_completed(), run.state.message
    return run


def in_hand(shop: Shop, addresses: list[str]) -> list[str]:
    """The addresses whose message the mail server has and does not answer."""
    found: list[str] = until(
        lambda: [address for address in shop.mailbox.waiting if address in addresses], "a message is in hand"
    )
    return found


def started_beside(shop: Shop, known: list[FlowRun]) -> FlowRun:
    """The run of thank-you's own deployment that somebody other than us started."""
    before = {run.id for run in known}
    found: FlowRun = until(
        lambda: next((run for run in shop.runs_of("thank-you") if run.id not in before), None),
        "thank-you's own deployment runs",
    )
    return found


def test_a_stage_that_contacts_enter_wakes_the_campaign(shop: Shop) -> None:
    known = shop.runs_of("thank-you")
    addresses = shop.orders(3)
    shop.triggers(True)

    stages = completed(shop.run("stages"))

    run = completed(shop.ended(started_beside(shop, known).id))
    shop.triggers(False)
    assert shop.arrived(addresses) == addresses
    shop.logged(stages.id, "3 entered purchase")
    assert run.created_by is not None
    assert run.created_by.type == "AUTOMATION"
    assert re.fullmatch(r"thank-you \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", run.name)
    pages = shop.pages(run.id)
    page = str(pages["thank-you"].data)
    assert page.startswith("# thank-you: 3 messages accepted of 3 due")
    assert "| accepted | 3 |" in page
    assert "| **due** | 3 |" in page
    assert "`evergreet audit`" in page
    assert pages["thank-you-progress"].data == 100.0


def test_a_tick_runs_what_is_due_and_moves_stages(shop: Shop) -> None:
    addresses = shop.orders(2)
    retired = Campaign(
        name="retired-note",
        trigger=event("parcel_returned"),
        steps=(Email("note", template="note", purpose=TRANSACTIONAL),),
    )
    shop.launch(retired, load=note)
    addresses += shop.orders(1, "parcel_returned")

    tick = completed(shop.run("dispatch"))

    assert shop.arrived(addresses) == sorted(addresses), "also of the campaign whose file is gone"
    parts = {run.name.partition(" ")[0]: run for run in shop.parts_of(tick.id)}
    assert set(parts) == {"thank-you", "retired-note", "stages"}
    assert all(run.deployment_id is None for run in parts.values()), "parts of the tick, not runs of their own"
    assert parts["thank-you"].parameters["options"]["max_seconds"] <= 30
    assert "| accepted |" in str(shop.pages(parts["thank-you"].id)["thank-you"].data)
    page = str(shop.pages(tick.id)["dispatch"].data)
    assert page.startswith("# 2 campaigns had something due")
    assert "| thank-you | thank-you: 2 enrolled, 2 planned, 2 accepted |" in page

    following = completed(shop.run("dispatch"))  # the moves between stages are looked at; they cause nothing new
    assert "retired-note" not in {run.name.partition(" ")[0] for run in shop.parts_of(following.id)}
    assert len(shop.arrived(addresses)) == len(addresses)


def test_a_killed_run_is_finished_by_the_next_tick(shop: Shop) -> None:
    addresses = shop.orders(12)
    with held(shop):
        run = shop.start("thank-you")
        in_hand(shop, addresses)
        shop.kill(run)
        crashed = shop.ended(run)
    assert crashed.state is not None
    assert crashed.state.is_crashed()

    completed(shop.run("dispatch"))

    states = shop.messages(addresses)
    assert set(states) == set(addresses), "nobody is missing"
    assert set(states.values()) <= {"accepted", "unknown"}
    unknown = [address for address, state in states.items() if state == "unknown"]
    assert 1 <= len(unknown) <= 4, "what was in the hands of four threads is in doubt, and visible"
    assert len(shop.arrived(addresses)) == len(set(shop.arrived(addresses))), "nobody got it twice"
    assert set(addresses) - set(unknown) <= set(shop.arrived(addresses))


def test_a_paused_deployment_holds_everything_until_it_is_resumed(shop: Shop) -> None:
    shop.pause("thank-you")
    addresses = shop.orders(2)

    completed(shop.run("dispatch"))
    by_hand = completed(shop.run("thank-you"))

    assert shop.arrived(addresses) == []
    state = shop.state("thank-you")
    assert (state.state, state.by) == ("paused", "prefect")
    assert "deployment is paused in Prefect" in str(shop.pages(by_hand.id)["thank-you"].data)

    shop.pause("thank-you", paused=False)
    completed(shop.run("dispatch"))

    assert shop.state("thank-you").state == "live"
    assert shop.arrived(addresses) == addresses


def test_a_cancelled_run_stops_and_pauses_the_campaign(shop: Shop) -> None:
    addresses = shop.orders(12)
    with held(shop):
        run = shop.start("thank-you")
        held_back = in_hand(shop, addresses)
        shop.cancel(run)
        until(lambda: shop.state("thank-you").state == "paused", "the campaign is paused")
    cancelled = shop.ended(run)
    assert cancelled.state is not None
    assert cancelled.state.is_cancelled(), cancelled.state.message
    assert "was cancelled in Prefect" in shop.state("thank-you").reason
    assert shop.deployment("thank-you").paused, "what holds the campaign shows where people look"
    assert len(shop.arrived(addresses)) < len(addresses)
    assert set(shop.messages(held_back).values()) == {"accepted"}, "what was in hand is settled"

    completed(shop.run("dispatch"))
    assert len(shop.arrived(addresses)) < len(addresses), "the next tick does not go on against the operator's word"

    shop.pause("thank-you", paused=False)
    completed(shop.run("dispatch"))
    assert shop.arrived(addresses) == sorted(addresses)


def test_a_campaign_can_be_cancelled_as_a_part_of_a_tick(shop: Shop) -> None:
    addresses = shop.orders(12)
    with held(shop):
        tick = shop.start("dispatch")
        in_hand(shop, addresses)
        [part] = [run for run in shop.parts_of(tick) if run.name.startswith("thank-you")]
        shop.cancel(part.id)
        until(lambda: shop.state("thank-you").state == "paused", "the campaign is paused")
    completed(shop.ended(tick))
    cancelled = shop.flow_run(part.id).state
    assert cancelled is not None
    assert cancelled.is_cancelled()
    assert "cancelled in Prefect" in str(shop.pages(tick)["dispatch"].data)
    assert len(shop.arrived(addresses)) < len(addresses)
    assert shop.deployment("thank-you").paused

    shop.pause("thank-you", paused=False)
    completed(shop.run("dispatch"))
    assert shop.arrived(addresses) == sorted(addresses)


def test_what_is_too_much_for_a_turn_goes_on_in_the_campaigns_own_deployment(shop: Shop) -> None:
    known = shop.runs_of("thank-you")
    addresses = shop.orders(24)
    shop.mailbox.seconds = 0.5
    with parameters(shop, {"options": {"max_seconds": 1}}):
        tick = completed(shop.run("dispatch"))
    shop.mailbox.seconds = 0.0

    assert len(shop.arrived(addresses)) < len(addresses)
    assert "work is left; its own deployment goes on with it" in str(shop.pages(tick.id)["dispatch"].data)
    completed(shop.ended(started_beside(shop, known).id))
    completed(shop.run("thank-you"))
    assert shop.arrived(addresses) == sorted(addresses)


def test_shards_deliver_beside_a_run_and_what_a_killed_one_leaves_is_finished(shop: Shop) -> None:
    addresses = shop.orders(100)
    with held(shop):
        run = shop.start("thank-you", {"options": {"batch_size": 5}})
        until(lambda: len(in_hand(shop, addresses)) == 12, "three runs with four threads each have a message in hand")
        killed, other = shop.parts_of(run)
        assert {killed.name.partition(" 2")[0], other.name.partition(" 2")[0]} == {"thank-you, shard"}
        shop.kill(killed.id)
        crashed = shop.ended(killed.id).state
    ended = completed(shop.ended(run))
    completed(shop.ended(other.id))
    assert crashed is not None
    assert crashed.is_crashed()

    states = shop.messages(addresses)
    assert set(states) == set(addresses), "nobody is missing"
    assert Counter(states.values()) == {"accepted": 96, "unknown": 4}
    assert len(shop.arrived(addresses)) == len(set(shop.arrived(addresses))), "nobody got it twice"
    page = str(shop.pages(ended.id)["thank-you"].data)
    assert re.search(r"with 2 shards: (\d+ completed, \d+ crashed|\d+ crashed, \d+ completed)\)", page)
    assert "planned 100; its hand-overs: 96 accepted, 4 unknown." in page, "one report counts what all three did"
    assert "thank-you" not in shop.pages(other.id)


def test_a_limit_of_the_connectors_name_paces_all_runs(shop: Shop) -> None:
    addresses = shop.orders(4)
    with limit(shop, slots=4, per_second=0.1):
        completed(shop.run("thank-you"))
        with shop.client() as client:
            taken = client.read_global_concurrency_limit_by_name("smtp").active_slots
    assert taken > 0
    assert shop.arrived(addresses) == addresses


def test_the_rates_of_the_settings_become_limits_of_the_server(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def made(rates: str) -> tuple[int, float]:
        monkeypatch.setenv("EVERGREET_RATES", rates)
        settings.cache_clear()
        async with PrefectClient(api=shop.prefect.api) as client:
            await ensure_limits(client)
            limit = await client.read_global_concurrency_limit_by_name("outbox")
        return limit.limit, limit.slot_decay_per_second

    assert asyncio.run(made("outbox: 40/s, 500/day")) == (40, 40.0)
    assert asyncio.run(made("outbox: 0.5/s")) == (1, 0.5)
    with shop.client() as client:
        client.delete_global_concurrency_limit_by_name("outbox")


def test_a_failing_run_names_its_cause_in_one_line(shop: Shop) -> None:
    shop.orders(1)
    with limit(shop, slots=10, per_second=0.0):
        run = shop.run("thank-you")
        tick = shop.run("dispatch")

    assert run.state is not None
    assert run.state.is_failed()
    cause = str(run.state.message)
    assert "The Prefect limit 'smtp' has 10 slots and gives back 0.0 a second" in cause
    assert "\n" not in cause
    page = str(shop.pages(run.id)["thank-you"].data)
    assert page.startswith("# thank-you: failed\n\n**The Prefect limit 'smtp'")
    assert tick.state is not None
    assert tick.state.is_failed()
    assert "thank-you: The Prefect limit 'smtp'" in str(tick.state.message)
    assert "\n" not in str(tick.state.message)


def test_a_mail_server_that_refuses_us_fails_the_run(shop: Shop) -> None:
    addresses = shop.orders(2)
    shop.mailbox.refusing = True
    run = shop.run("thank-you")

    assert run.state is not None
    assert run.state.is_failed()
    assert "halted: " in str(run.state.message)
    assert "does not let us in" in str(run.state.message)
    assert "\n" not in str(run.state.message)
    assert "**Halted: " in str(shop.pages(run.id)["thank-you"].data)
    assert shop.arrived(addresses) == []


def test_a_rehearsal_counts_and_sends_nothing(shop: Shop) -> None:
    addresses = shop.orders(2)
    run = completed(shop.run("thank-you", {"options": {"dry_run": True}}))
    assert "A rehearsal: nothing was stored or sent" in str(shop.pages(run.id)["thank-you"].data)
    assert shop.messages(addresses) == {}
    assert shop.arrived(addresses) == []


def test_reconcile_leaves_what_it_cannot_resolve_in_sight(shop: Shop) -> None:
    run = completed(shop.run("reconcile"))
    shop.logged(run.id, "still unknown")


def test_no_secret_is_in_anything_that_prefect_shows_or_keeps(shop: Shop) -> None:
    with shop.client() as client:
        shown = "\n".join(
            [
                *(repr(line) for offset in range(0, 4000, 200) for line in client.read_logs(limit=200, offset=offset)),
                *(repr(artifact) for artifact in client.read_artifacts(limit=200)),
                *(repr(run) for run in client.read_flow_runs(limit=200)),
                *(repr(deployment) for deployment in client.read_deployments()),
            ]
        )
    assert "thank-you" in shown
    assert "@example.org" not in shown, "nor whom we write to"
    kept = b"".join(path.read_bytes() for path in shop.home.rglob("*") if path.is_file())
    assert b"thank-you" in kept
    for name, canary in CANARIES.items():
        assert canary not in shown, f"the {name} secret is shown"
        assert canary.encode() not in kept, f"the {name} secret is kept"


@contextmanager
def limit(shop: Shop, slots: int, per_second: float) -> Iterator[None]:
    """Give the connector a global limit."""
    with shop.client() as client:
        client.create_global_concurrency_limit(
            GlobalConcurrencyLimitCreate(name="smtp", limit=slots, slot_decay_per_second=per_second)
        )
        try:
            yield
        finally:
            client.delete_global_concurrency_limit_by_name("smtp")


@contextmanager
def parameters(shop: Shop, given: dict[str, Any]) -> Iterator[None]:
    """Change the parameters of thank-you's deployment."""
    deployment = shop.deployment("thank-you").id
    with shop.client() as client:
        client.update_deployment(deployment, DeploymentUpdate(parameters=given))
        try:
            yield
        finally:
            client.update_deployment(deployment, DeploymentUpdate(parameters={"options": {}}))
