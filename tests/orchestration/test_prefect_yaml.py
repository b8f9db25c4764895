"""prefect.yaml is checked strictly: Prefect itself ignores what it does not know, schedules excepted."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.cli.deploy._models import (
    ConcurrencyLimitSpec,
    DeploymentConfig,
    PrefectYamlModel,
    RawScheduleConfig,
    WorkPoolConfig,
)
from prefect.events import DeploymentEventTrigger
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.workers.process import ProcessVariables
from pydantic import BaseModel, TypeAdapter

from evergreet.campaign import StageTrigger
from evergreet.deployment_file import KEYS, OPERATIONS, STAGE_ENTERED, findings, wanted
from evergreet.deployment_writing import beginning
from evergreet.orchestration.pool import POOL
from evergreet.orchestration.stages import EVENT
from evergreet.registry import find_campaigns

PROJECT = Path(__file__).parents[2]
ANCHORS = {"definitions"}
"""Where YAML anchors are kept; Prefect's own documentation uses this key."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((PROJECT / "prefect.yaml").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def deployments(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {deployment["name"]: deployment for deployment in document["deployments"]}


def unknown_keys(document: dict[str, Any]) -> list[str]:
    """Name every key that Prefect would ignore, with its path."""
    found = _unknown(PrefectYamlModel, document, "", allowed=ANCHORS)
    for index, deployment in enumerate(document["deployments"]):
        where = f"deployments[{deployment.get('name', index)}]."
        found += _unknown(DeploymentConfig, deployment, where)
        pool = deployment.get("work_pool", {})
        found += _unknown(WorkPoolConfig, pool, f"{where}work_pool.")
        found += _unknown(ProcessVariables, pool.get("job_variables", {}), f"{where}work_pool.job_variables.")
        found += _unknown(ConcurrencyLimitSpec, deployment.get("concurrency_limit", {}), f"{where}concurrency_limit.")
        for schedule in deployment.get("schedules", []):
            found += _unknown(RawScheduleConfig, schedule, f"{where}schedules.")
        for trigger in deployment.get("triggers", []):
            found += _unknown(DeploymentEventTrigger, trigger, f"{where}triggers.")
    return found


def _unknown(model: type[BaseModel], given: dict[str, Any], where: str, allowed: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    return [where + key for key in given if key not in _known(model) | allowed]


def _known(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields) | {str(field.alias) for field in model.model_fields.values() if field.alias}


def flow_of(deployment: dict[str, Any]) -> Flow[Any, Any]:
    return load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)


def test_the_command_finds_nothing_to_say(document: dict[str, Any]) -> None:
    assert findings(document, wanted(find_campaigns("flows")), "flows") == []


@pytest.mark.parametrize(
    ("place", "model"),
    [
        ("file", PrefectYamlModel),
        ("deployment", DeploymentConfig),
        ("work_pool", WorkPoolConfig),
        ("concurrency_limit", ConcurrencyLimitSpec),
        ("schedules", RawScheduleConfig),
        ("triggers", DeploymentEventTrigger),
    ],
)
def test_the_command_knows_the_keys_that_prefect_knows(place: str, model: type[BaseModel]) -> None:
    own = ANCHORS if place == "file" else set()
    assert KEYS[place] == _known(model) | own


def test_the_command_knows_the_event_and_the_operations() -> None:
    assert STAGE_ENTERED == EVENT
    files = {path.stem.removeprefix("_") for path in (PROJECT / "flows").glob("_[a-z]*.py")}
    assert set(OPERATIONS) == files


def test_what_a_new_project_begins_with_is_what_runs_here(document: dict[str, Any]) -> None:
    begun = yaml.safe_load(beginning())
    ours = [each for each in document["deployments"] if each["name"] in OPERATIONS]
    assert begun["deployments"] == ours
    assert {key: begun[key] for key in ("name", "definitions")} == {
        key: document[key] for key in ("name", "definitions")
    }


def test_it_has_no_key_that_prefect_would_ignore(document: dict[str, Any]) -> None:
    assert unknown_keys(document) == []
    PrefectYamlModel.model_validate(document)


@pytest.mark.parametrize(
    "path",
    [
        (),
        ("deployments", "thank-you"),
        ("deployments", "thank-you", "work_pool"),
        ("deployments", "thank-you", "concurrency_limit"),
        ("deployments", "thank-you", "triggers", 0),
        ("deployments", "dispatch", "schedules", 0),
    ],
)
def test_a_misspelt_key_is_found_at_every_level(document: dict[str, Any], path: tuple[str | int, ...]) -> None:
    spoilt = copy.deepcopy(document)
    place: Any = spoilt
    for step in path:
        by_name = isinstance(place, list) and isinstance(step, str)
        place = next(each for each in place if each["name"] == step) if by_name else place[step]
    place["entrypiont"] = "x"

    # what stands behind a YAML anchor is found wherever it is used
    assert {key.rpartition(".")[2] for key in unknown_keys(spoilt)} == {"entrypiont"}


def test_every_campaign_has_a_deployment_of_its_name(deployments: dict[str, dict[str, Any]]) -> None:
    for name, found in find_campaigns("flows").items():
        assert flow_of(deployments[name]).fn is found.flow.fn
        assert deployments[name]["entrypoint"] == f"{found.module.__name__}.{found.flow.fn.__name__}"


def test_every_operational_flow_has_a_deployment(deployments: dict[str, dict[str, Any]]) -> None:
    files = {path.stem.removeprefix("_") for path in (PROJECT / "flows").glob("_[a-z]*.py")}
    assert files <= set(deployments)
    assert {"dispatch", "stages", "reconcile"} <= files


def test_every_entrypoint_is_an_async_flow_named_as_the_deployment(deployments: dict[str, dict[str, Any]]) -> None:
    for name, deployment in deployments.items():
        flow = flow_of(deployment)
        assert flow.name == name
        assert flow.isasync, "a sync flow costs 1.1 s more"
        assert callable(flow.flow_run_name)


def test_parameters_fit_the_flows(deployments: dict[str, dict[str, Any]]) -> None:
    for name, found in find_campaigns("flows").items():
        given = deployments[name]["parameters"]
        assert set(given) == {"options"}
        found.options.model_validate(given["options"])
    for name, deployment in deployments.items():
        asked_for = {"campaign": "thank-you", "run": 1} if name == "shard" else {}
        flow_of(deployment).validate_parameters(deployment["parameters"] | asked_for)


def test_options_are_a_described_form(deployments: dict[str, dict[str, Any]]) -> None:
    for found in find_campaigns("flows").values():
        for field_name, field in found.options.model_fields.items():
            assert field.description, field_name
            if field.annotation is int:
                assert {type(rule).__name__ for rule in field.metadata} >= {"Ge", "Le"}, f"{field_name} has no bounds"


def test_all_deployments_say_where_when_and_how(deployments: dict[str, dict[str, Any]]) -> None:
    for deployment in deployments.values():
        assert deployment["work_pool"] == {"name": POOL}
        if deployment["name"] != "shard":
            assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
        assert deployment["description"]
        assert "evergreet" in deployment["tags"]
        for schedule in deployment.get("schedules", []):
            assert schedule["slug"]
            assert schedule["timezone"]


def test_operations_run_by_schedule(deployments: dict[str, dict[str, Any]]) -> None:
    for name in ("dispatch", "stages", "reconcile", "crm", "maintain"):
        assert deployments[name]["schedules"]
    assert [schedule["cron"] for schedule in deployments["dispatch"]["schedules"]] == ["* * * * *"]


def test_a_campaign_that_a_stage_starts_is_woken_by_that_stage(deployments: dict[str, dict[str, Any]]) -> None:
    adapter: TypeAdapter[DeploymentEventTrigger] = TypeAdapter(DeploymentEventTrigger)
    for name, found in find_campaigns("flows").items():
        as_written = found.module.campaign.trigger.parts  # events speak for the life stages that a stage stands for
        stages = {part.stage for part in as_written if isinstance(part, StageTrigger)}
        triggers = [adapter.validate_python(trigger) for trigger in deployments[name].get("triggers", [])]
        assert all(trigger.expect == {EVENT} for trigger in triggers)
        woken = {resource for trigger in triggers for resource in trigger.match["prefect.resource.id"]}
        assert woken == {f"evergreet.stage.{stage}" for stage in stages}
