"""prefect.yaml, checked against the campaigns: Prefect itself ignores a key it does not know without a word.

What is missing can be added (`evergreet.deployment_writing`); everything else is a sentence for a person.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import yaml
from pydantic import ValidationError

from evergreet.campaign import Options, StageTrigger
from evergreet.errors import ConfigurationError
from evergreet.registry import CampaignModule

STAGE_ENTERED = "evergreet.stage.entered"
"""The event that says that contacts entered a stage, on the resource `evergreet.stage.<name>`."""

STAGE = "evergreet.stage."
RESOURCE = "prefect.resource.id"
CAMPAIGN_TAGS = ("evergreet", "campaign")

OPERATIONS = {name: f"flows._{name}.{name}" for name in ("dispatch", "stages", "reconcile", "crm", "maintain", "shard")}
"""The flows that every installation runs, with their entrypoints."""

KEYS = {
    "file": frozenset(
        ("name", "prefect-version", "prefect_version", "build", "push", "pull", "deployments", "definitions")
    ),
    "deployment": frozenset(
        ("name", "flow_name", "entrypoint", "description", "version", "version_type", "tags", "parameters", "work_pool",
         "schedule", "schedules", "paused", "concurrency_limit", "triggers", "enforce_parameter_schema", "sla", "build",
         "push", "pull")
    ),
    "work_pool": frozenset(("name", "work_queue_name", "job_variables")),
    "concurrency_limit": frozenset(("limit", "collision_strategy", "grace_period_seconds")),
    "schedules": frozenset(
        ("active", "anchor_date", "cron", "day_or", "interval", "parameters", "replaces", "rrule", "slug", "timezone")
    ),
    "triggers": frozenset(
        ("type", "name", "description", "enabled", "posture", "match", "match_related", "after", "expect", "for_each",
         "threshold", "within", "parameters", "job_variables", "schedule_after")
    ),
}  # fmt: skip
"""What Prefect understands at each place; `definitions` is where anchors are kept, as in its documentation."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The deployment that a campaign is to have; `stages` start it, in the words of the campaign file."""

    name: str
    entrypoint: str
    about: str
    stages: tuple[str, ...]
    options: type[Options]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, as a sentence; `missing` names what `--write` adds."""

    sentence: str
    missing: tuple[str, ...] = ()


def wanted(campaigns: Mapping[str, CampaignModule]) -> dict[str, Wanted]:
    """Say which deployment each campaign is to have."""
    return {name: _wanted(name, found) for name, found in campaigns.items()}


def _wanted(name: str, found: CampaignModule) -> Wanted:
    # As the file writes it: the lifecycle in use may call the stage otherwise, and events speak for both names.
    parts = found.module.campaign.trigger.parts
    return Wanted(
        name=name,
        entrypoint=f"{found.module.__name__}.{name.replace('-', '_')}",
        about=" ".join((found.module.__doc__ or "").partition("\n\n")[0].split()),
        stages=tuple(dict.fromkeys(part.stage for part in parts if isinstance(part, StageTrigger))),
        options=found.options,
    )


def read(text: str, path: str) -> dict[str, Any]:
    """Read the file; raises ConfigurationError with the line where it is not YAML, or not what Prefect expects."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict) or not isinstance(document.get("deployments"), list):
        raise ConfigurationError(f"{path} has no list `deployments:`; move it away to have it written anew.")
    return document


def findings(document: Mapping[str, Any], campaigns: Mapping[str, Wanted], package: str) -> list[Finding]:
    """Compare the file with the campaigns of the package; empty when all is well."""
    found = [Finding(sentence) for sentence in _unknown_keys("file", document, "At the top")]
    named: dict[str, Any] = {}
    for number, deployment in enumerate(document["deployments"], start=1):
        if not isinstance(deployment, dict) or not isinstance(deployment.get("name"), str):
            found.append(Finding(f"The deployment number {number} has no name: write `- name: …`."))
            continue
        name = deployment["name"]
        if name in named:
            found.append(Finding(f"Deployment {name!r} stands twice; remove one of them."))
        named[name] = deployment
        found += map(Finding, _misspelt(deployment))
        found += map(Finding, _not_ours(name, deployment, campaigns, package))
    for name, entrypoint in OPERATIONS.items():
        if name not in named:
            sentence = f"The deployment {name!r} is missing: nothing runs {entrypoint}. `--write` adds it."
            found.append(Finding(sentence, (name,)))
        else:
            found += map(Finding, _wrong_entrypoint(named[name], entrypoint, f"{package}._{name}.{name}"))
    for name, campaign in campaigns.items():
        if name not in named:
            sentence = f"Campaign {name!r} ({campaign.entrypoint}) has no deployment of its name. `--write` adds it."
            found.append(Finding(sentence, (name,)))
        else:
            found += map(Finding, _wrong_entrypoint(named[name], campaign.entrypoint))
            found += map(Finding, _wrong_parameters(named[name], campaign))
            found += _wrong_triggers(named[name], campaign)
    return found


def _misspelt(deployment: dict[str, Any]) -> Iterator[str]:
    where = f"Deployment {deployment['name']!r}"
    yield from _unknown_keys("deployment", deployment, where)
    for place in ("work_pool", "concurrency_limit"):
        yield from _unknown_keys(place, deployment.get(place), f"{where}, {place}")
    for place in ("schedules", "triggers"):
        for number, item in enumerate(_list(deployment.get(place)), start=1):
            if isinstance(item, dict) and item.get("type", "event") == "event":  # other kinds have other keys
                yield from _unknown_keys(place, item, f"{where}, {place} number {number}")


def _unknown_keys(place: str, given: Any, where: str) -> Iterator[str]:
    for key in given if isinstance(given, Mapping) else ():
        if key not in KEYS[place]:
            close = get_close_matches(str(key), KEYS[place], n=1)
            yield (
                f"{where}: Prefect does not know the key {key!r} and would ignore it"
                + (f"; write {close[0]!r}." if close else "; remove it.")
            )


def _not_ours(name: str, deployment: dict[str, Any], campaigns: Mapping[str, Wanted], package: str) -> Iterator[str]:
    """Name deployments that say they are a campaign's, and are not; what is somebody else's is left alone."""
    entrypoint = str(deployment.get("entrypoint", ""))
    known = {*(campaign.entrypoint for campaign in campaigns.values()), *OPERATIONS.values()}
    if name in campaigns or name in OPERATIONS or entrypoint in known:
        return
    tags = {str(tag) for tag in _list(deployment.get("tags"))}
    ours = entrypoint.startswith(f"{package}.") and not entrypoint.startswith(f"{package}._")
    if ours or set(CAMPAIGN_TAGS) <= tags:
        yield (
            f"Deployment {name!r} runs {entrypoint or 'nothing'}, and {package} has no such campaign: remove it here, "
            f"and on the server with `prefect deployment delete {name}/{name}`."
        )


def _wrong_entrypoint(deployment: dict[str, Any], *right: str) -> Iterator[str]:
    given = str(deployment.get("entrypoint", ""))
    if given in right:
        return
    where = f"Deployment {deployment['name']!r}"
    if ".py:" in given:
        yield (
            f"{where}: entrypoint {given!r} is a file, which loads the module a second time under another name; "
            f"write {right[0]}."
        )
    else:
        yield f"{where}: the entrypoint is {given or 'missing'}; write {right[0]}."


def _wrong_parameters(deployment: dict[str, Any], campaign: Wanted) -> Iterator[str]:
    given = deployment.get("parameters") or {}
    where = f"Deployment {campaign.name!r}"
    if not isinstance(given, dict) or set(given) - {"options"}:
        yield f"{where}: a campaign has the one parameter `options`; write `parameters: {{options: {{…}}}}`."
        return
    try:
        campaign.options.model_validate(given.get("options") or {})
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            yield (
                f"{where}, options, {'.'.join(map(str, problem['loc']))}: {problem['msg']}. It has the options: "
                f"{', '.join(campaign.options.model_fields)}."
            )


def _wrong_triggers(deployment: dict[str, Any], campaign: Wanted) -> Iterator[Finding]:
    where = f"Deployment {campaign.name!r}"
    woken: set[str] = set()
    for trigger in _list(deployment.get("triggers")):
        for stage in _stages_of(trigger):
            if STAGE_ENTERED in _list(trigger.get("expect")):
                woken.add(stage)
            else:
                yield Finding(
                    f"{where}: the trigger on the stage {stage!r} waits for {trigger.get('expect')}; "
                    f"write `expect: [{STAGE_ENTERED}]`."
                )
                woken.add(stage)
    for stage in campaign.stages:
        if stage not in woken:
            sentence = f"{where}: entering the stage {stage!r} starts the campaign, and no trigger wakes it then. "
            yield Finding(f"{sentence}`--write` adds one.", (campaign.name, stage))
    for stage in sorted(woken.difference(campaign.stages)):
        begins = f"it starts at: {', '.join(campaign.stages)}" if campaign.stages else "no stage does"
        yield Finding(
            f"{where}: a trigger wakes it at the stage {stage!r}, which does not start it ({begins}). Remove it."
        )


def _stages_of(trigger: Any) -> Iterator[str]:
    match = trigger.get("match") if isinstance(trigger, dict) else None
    for resource in _list(match.get(RESOURCE)) if isinstance(match, dict) else ():
        if str(resource).startswith(STAGE):
            yield str(resource).removeprefix(STAGE)


def _list(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, Iterable) else []
