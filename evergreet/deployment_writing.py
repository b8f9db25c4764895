"""Adding to prefect.yaml what is missing, as text: comments, anchors and the order of what is there stay.

The places are found by the marks of the YAML parser; what comes out is read again and compared before it is used.
"""

import json
import textwrap
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import yaml

from evergreet.deployment_file import CAMPAIGN_TAGS, OPERATIONS, RESOURCE, STAGE, STAGE_ENTERED, Wanted
from evergreet.errors import ConfigurationError

WIDTH = 116
ALIASES = {"work_pool": "*pool", "concurrency_limit": "*one_at_a_time"}
"""Written where the file has these anchors and they mean what is wanted."""


def beginning() -> str:
    """Return a file with the operational deployments and no campaign yet."""
    return files("evergreet").joinpath("deployments.yaml").read_text("utf-8")


def add_deployment(text: str, campaign: Wanted) -> str:
    """Return the file with a deployment of the campaign, after those that are there, or at the end."""
    return _add(text, campaign.name, _lines(campaign))


def add_operation(text: str, name: str) -> str:
    """Return the file with one of the operational deployments at the end."""
    own = beginning()
    sequence = _items(own)
    (item,) = [item for item in sequence.value if _value(item, "name") == name]
    column = item.start_mark.column
    lines = own[item.start_mark.index - column : _end(own, item, sequence)].splitlines()
    return _add(text, name, [line[column:] for line in lines])


def add_trigger(text: str, campaign: Wanted, stage: str) -> str:
    """Return the file with a trigger for the stage on the campaign's deployment.

    Raises ConfigurationError where its triggers are written in a way that cannot be added to.
    """
    sequence = _items(text)
    item = next(each for each in sequence.value if _value(each, "name") == campaign.name)
    given = next((value for key, value in item.value if key.value == "triggers"), None)
    end = _end(text, item, sequence)
    if given is None:
        at, column, lines = end, item.start_mark.column, ["triggers:", *_indented(_trigger(campaign, stage), 2)]
    elif _is_list(given) and item.start_mark.index < given.start_mark.index < end:  # an alias stands elsewhere
        at = _last_line(text, given.start_mark.index, min(given.end_mark.index, end))
        column = given.start_mark.column
        lines = _trigger(campaign, stage)
    else:
        raise ConfigurationError(
            f"Deployment {campaign.name!r}: its triggers are not a list with dashes; write them so, and run this again."
        )
    added = _insert(text, at, _indented(lines, column))
    _compare(text, added, campaign.name)
    return added


def _lines(campaign: Wanted) -> list[str]:
    """Write the deployment of a campaign, as the lines of one item."""
    about = (
        f"{campaign.about} `dispatch` runs it whenever something is due; run it by hand to choose other options for "
        "one run, pause it to hold every message of the campaign."
    ).strip()
    lines = [
        f"name: {campaign.name if isinstance(yaml.safe_load(campaign.name), str) else json.dumps(campaign.name)}",
        f"entrypoint: {campaign.entrypoint}",
        "description: >-",
        *_indented(textwrap.wrap(about, WIDTH - 6, break_long_words=False, break_on_hyphens=False), 2),
        f"tags: [{', '.join(CAMPAIGN_TAGS)}]",
        "parameters:",
        "  options: {}",
        f"work_pool: {ALIASES['work_pool']}",
        f"concurrency_limit: {ALIASES['concurrency_limit']}",
    ]
    if campaign.stages:
        lines += ["triggers:", *(line for stage in campaign.stages for line in _indented(_trigger(campaign, stage), 2))]
    return lines


def _trigger(campaign: Wanted, stage: str) -> list[str]:
    return [
        "- type: event",
        f"  name: wake {campaign.name} when contacts enter the {stage} stage",
        "  posture: Reactive",
        "  match:",
        f"    {RESOURCE}: {STAGE}{stage}",
        f"  expect: [{STAGE_ENTERED}]",
        "  threshold: 1",
        "  within: 30",
    ]


def _add(text: str, name: str, lines: list[str]) -> str:
    sequence = _items(text)
    at = _place(text, sequence, campaign=name not in OPERATIONS)
    dash = sequence.start_mark.column
    inner = sequence.value[0].start_mark.column - dash
    item = [f"- {' ' * (inner - 2)}{lines[0]}", *_indented(lines[1:], inner)]
    headed = text[:at].rstrip().rpartition("\n")[2].lstrip().startswith("#")
    given = {line.partition(":")[0] for line in lines}
    usual = {key: value for key, value in _usual(text).items() if key in given}
    for written in (item, [_without_alias(line, usual) for line in item]):
        added = _insert(text, at, [*([] if headed else [""]), *_indented(written, dash)])
        try:
            _compare(text, added, name)
        except yaml.YAMLError:  # the file has no such anchor
            continue
        if usual.items() <= _named(added)[name].items():
            return added
    raise ConfigurationError(f"The deployment {name!r} cannot be added to the file; add it by hand.")


def _without_alias(line: str, usual: dict[str, Any]) -> str:
    key, colon, value = line.partition(": ")
    return f"{key}{colon}{json.dumps(usual[key.strip()])}" if value == ALIASES.get(key.strip()) else line


def _usual(text: str) -> dict[str, Any]:
    """Say where and how deployments of this file run: as its `dispatch` does, or as ours."""
    theirs, ours = _named(text).get("dispatch", {}), _named(beginning())["dispatch"]
    return {key: theirs.get(key) or ours[key] for key in ALIASES}


def _named(text: str) -> dict[str, dict[str, Any]]:
    found = yaml.safe_load(text)["deployments"]
    return {str(each.get("name")): each for each in found if isinstance(each, dict)}


def _compare(before: str, after: str, name: str) -> None:
    """Refuse a text in which anything but the deployment of that name changed."""
    if _without(before, name) != _without(after, name):
        raise ConfigurationError(f"Adding {name!r} would change something else in the file; add it by hand.")


def _without(text: str, name: str) -> dict[str, Any]:
    document = yaml.safe_load(text)
    others = [each for each in document["deployments"] if not (isinstance(each, dict) and each.get("name") == name)]
    return {**document, "deployments": others}


def _items(text: str) -> yaml.SequenceNode:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    sequence = next(value for key, value in root.value if key.value == "deployments")
    if not isinstance(sequence, yaml.SequenceNode) or not _is_list(sequence):
        raise ConfigurationError("`deployments:` is not a list with dashes; write it so, and run this again.")
    return sequence


def _is_list(node: yaml.Node) -> bool:
    return isinstance(node, yaml.SequenceNode) and not node.flow_style and bool(node.value)


def _place(text: str, sequence: yaml.SequenceNode, *, campaign: bool) -> int:
    """Return where a new deployment goes: a campaign's after the last that is no operation, else at the end."""
    others = [item for item in sequence.value if campaign and _value(item, "name") not in OPERATIONS]
    if others:
        return _end(text, others[-1], sequence)
    rest = text[_end(text, sequence.value[-1], sequence) :]
    if all(not line.strip() or line.lstrip().startswith("#") for line in rest.splitlines()):
        return len(text)
    return len(text) - len(rest)


def _end(text: str, item: yaml.Node, sequence: yaml.SequenceNode) -> int:
    """Return where the line after the item's last begins."""
    begins = [each.start_mark.index for each in sequence.value if each.start_mark.index > item.start_mark.index]
    return _last_line(text, item.start_mark.index, min([*begins, sequence.end_mark.index]))


def _last_line(text: str, begin: int, end: int) -> int:
    """Return where the line after the last token between two places begins; comments are no tokens."""
    tokens = yaml.scan(text, Loader=yaml.SafeLoader)
    structure = (yaml.BlockEndToken, yaml.BlockEntryToken, yaml.StreamEndToken)
    last = max(
        token.end_mark.index
        for token in tokens
        if begin <= token.start_mark.index < end and not isinstance(token, structure)
    )
    newline = text.find("\n", len(text[:last].rstrip()))
    return len(text) if newline < 0 else newline + 1


def _insert(text: str, at: int, lines: Iterable[str]) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    head = text[:at] if not text[:at] or text[:at].endswith("\n") else text[:at] + newline
    return head + "".join(line + newline for line in lines) + text[at:]


def _indented(lines: Iterable[str], columns: int) -> list[str]:
    return [" " * columns + line if line else line for line in lines]


def _value(item: yaml.Node, key: str) -> str | None:
    pairs = item.value if isinstance(item, yaml.MappingNode) else []
    return next((value.value for name, value in pairs if name.value == key), None)
