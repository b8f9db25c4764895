"""`evergreet prefect-yaml` as a person types it: what it finds, what it adds, and what it leaves as it is."""

import difflib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from evergreet.cli import app
from evergreet.errors import ConfigurationError

PROJECT = Path(__file__).parents[2]
OURS = (PROJECT / "prefect.yaml").read_text("utf-8")
CAMPAIGN = '''"""Welcome who {about}.

More words for who reads the file.
"""

from prefect import flow

from evergreet.balance import Report
from evergreet.campaign import TRANSACTIONAL, Campaign, Email, Options, {words}
from evergreet.orchestration.runs import run_campaign

campaign = Campaign(
    name="{name}", trigger={trigger}, steps=(Email("hello", template="hello", purpose=TRANSACTIONAL),)
)


@flow(name=campaign.name)
async def {function}(options: Options = Options()) -> Report:
    return await run_campaign(campaign, options)
'''
LOYAL = "stage_entered('loyalty') | stage_entered('advocacy')"


def check(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["prefect-yaml", *words])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A company's own package with two campaigns, in its own working folder."""
    package = tmp_path / "acme_campaigns"
    package.mkdir()
    (package / "__init__.py").write_text("")
    write(package, "hello", "signed up", "event", "event('signed_up')")
    write(package, "loyal-friends", "stays", "stage_entered", LOYAL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("EVERGREET_CAMPAIGNS", "acme_campaigns")
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_campaigns"]:
        del sys.modules[name]


def write(package: Path, name: str, about: str, words: str, trigger: str) -> None:
    function = name.replace("-", "_")
    file = package / f"{function}.py"
    file.write_text(CAMPAIGN.format(about=about, words=words, name=name, trigger=trigger, function=function))


def deployments(path: Path) -> dict[str, Any]:
    return {each["name"]: each for each in yaml.safe_load(path.read_text("utf-8"))["deployments"]}


def added(before: str, after: str) -> list[str]:
    """The lines that came in; fails where a line of `before` is gone or changed."""
    steps = list(difflib.ndiff(before.splitlines(keepends=True), after.splitlines(keepends=True)))
    assert [line for line in steps if line.startswith("- ")] == []
    assert "".join(line[2:] for line in steps if line.startswith("  ")) == before
    return [line[2:].rstrip("\r\n") for line in steps if line.startswith("+ ")]


def without(text: str, name: str) -> str:
    """The file without one deployment."""
    return re.sub(rf"  - name: {name}\n(    .*\n| *\n)*", "", text)


def test_ours_is_complete(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").write_text(OURS)
    assert "every campaign of flows has its deployment (7)" in check()
    assert check("--write") == check()
    assert (tmp_path / "prefect.yaml").read_text() == OURS


@pytest.mark.parametrize("name", ["abandoned-cart", "thank-you", "win-back", "stages", "reconcile"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_missing_deployment_is_named_and_added_and_nothing_else_changes(name: str, ends: str, tmp_path: Path) -> None:
    file = tmp_path / "prefect.yaml"
    before = without(OURS, name).replace("\n", ends)
    file.write_bytes(before.encode())
    assert f"{name!r}" in check(code=1)
    assert f"Added the deployment {name}." in check("--write")
    after = file.read_bytes().decode()
    assert f"  - name: {name}" in added(before, after)
    assert after.count("\r\n") == (after.count("\n") if ends == "\r\n" else 0)
    theirs, ours = deployments(file)[name], {each["name"]: each for each in yaml.safe_load(OURS)["deployments"]}[name]
    for key in set(ours) - {"description"}:
        assert theirs[key] == ours[key]
    check("--write")
    assert file.read_bytes().decode() == after


def test_a_company_begins_without_a_file(acme: Path) -> None:
    assert "There is no prefect.yaml here" in check(code=1)
    assert "every campaign of acme_campaigns has its deployment (2)" in check("--write")
    found = deployments(acme / "prefect.yaml")
    assert set(found) == {"dispatch", "stages", "reconcile", "maintain", "crm", "shard", "hello", "loyal-friends"}
    assert found["hello"]["entrypoint"] == "acme_campaigns.hello.hello"
    assert found["hello"]["description"].startswith("Welcome who signed up. `dispatch` runs it")
    assert found["hello"]["work_pool"] == found["dispatch"]["work_pool"] == {"name": "evergreet"}
    assert "triggers" not in found["hello"]
    assert [each["match"] for each in found["loyal-friends"]["triggers"]] == [
        {"prefect.resource.id": "evergreet.stage.loyalty"}, {"prefect.resource.id": "evergreet.stage.advocacy"},
    ]  # fmt: skip


def test_a_file_of_somebody_elses_style_keeps_it(acme: Path) -> None:
    file = acme / "prefect.yaml"
    before = """# ours
deployments:
- name: nightly-report          # nothing to do with Evergreet
  entrypoint: reports/nightly.py:report
  work_pool: {name: k8s}

- name: hello
  entrypoint: acme_campaigns.hello.hello
  # a comment that stays
  triggers:
  - type: event
    match: {prefect.resource.id: acme.till}
    expect: [till.closed]   # another one
- name: loyal-friends
  entrypoint: acme_campaigns.loyal_friends.loyal_friends

  # the end of it
- name: dispatch
  entrypoint: flows._dispatch.dispatch
  work_pool:
    name: k8s
  concurrency_limit: 1"""
    file.write_text(before)
    assert check(code=1).count("`--write` adds") == 7
    check("--write")
    after = file.read_text()
    lines = added(before + "\n", after)
    assert lines[0] == "  triggers:"
    found = deployments(file)
    assert found["stages"]["work_pool"] == found["reconcile"]["work_pool"] == {"name": "k8s"}
    assert found["stages"]["concurrency_limit"] == 1
    assert found["shard"]["work_pool"] == {"name": "k8s"}
    assert "concurrency_limit" not in found["shard"]
    assert [each["match"]["prefect.resource.id"] for each in found["loyal-friends"]["triggers"]] == [
        "evergreet.stage.loyalty", "evergreet.stage.advocacy",
    ]  # fmt: skip
    write(acme / "acme_campaigns", "hello", "signed up", "event, stage_entered", f"event('signed_up') | {LOYAL}")
    for name in [name for name in sys.modules if name.startswith("acme_campaigns")]:
        del sys.modules[name]
    check("--write")
    assert [line.strip() for line in added(after, file.read_text()) if "resource" in line] == [
        "prefect.resource.id: evergreet.stage.loyalty", "prefect.resource.id: evergreet.stage.advocacy",
    ]  # fmt: skip
    assert len(deployments(file)["hello"]["triggers"]) == 3


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("entrypoint: flows.win_back.win_back", "entrypoint: flows/win_back.py:win_back", "is a file, which loads"),
        ("entrypoint: flows.win_back.win_back", "entrypoint: flows.winback.win_back", "write flows.win_back.win_back"),
        ("entrypoint: flows.win_back.win_back", "entrypiont: flows.win_back.win_back", "write 'entrypoint'"),
        ("entrypoint: flows._stages.stages", "entrypoint: flows._stages.stage", "write flows._stages.stages"),
        ("    limit: 1", "    limit: 1\n    limits: 2", "does not know the key 'limits'"),
        ("        threshold: 1", "        treshold: 1", "write 'threshold'"),
        ("        timezone: UTC", "        time_zone: UTC", "write 'timezone'"),
        ("evergreet.stage.purchase", "evergreet.stage.purchases", "no trigger wakes it then"),
        ("evergreet.stage.purchase", "evergreet.stage.purchases", "stage 'purchases', which does not start it"),
        ("expect: [evergreet.stage.entered]", "expect: [stage.entered]", "write `expect: [evergreet.stage.entered]`"),
        ("  - name: win-back", "  - name: win-back-2026", "Campaign 'win-back' (flows.win_back.win_back) has no"),
        ("  - name: win-back", "  - name: thank-you", "'thank-you' stands twice"),
        ("  - name: win-back", "  - nom: win-back", "has no name"),
        ("      options: {}", "      options: {discount: 5}", "discount: Extra inputs are not permitted"),
        ("      options: {}", "      option: {}", "the one parameter `options`"),
        ("  - name: dispatch", "  - name: old\n    entrypoint: flows.o.o\n  - name: dispatch", "has no such campaign"),
        ("name: evergreet\n\ndef", "nam: evergreet\n\ndef", "does not know the key 'nam'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_a_sentence(right: str, wrong: str, says: str, tmp_path: Path) -> None:
    assert right in OURS
    (tmp_path / "prefect.yaml").write_text(OURS.replace(right, wrong, 1))
    assert says in check(code=1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a: [", "cannot be read as YAML"),
        ("name: x", "has no list `deployments:`"),
        ("deployments: []", "is not a list with dashes"),
        ("deployments: [{name: dispatch}]", "is not a list with dashes"),
    ],
)
def test_a_file_that_cannot_be_added_to_is_a_sentence_and_stays(content: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text(content)
    result = CliRunner().invoke(app, ["prefect-yaml", "--write"])
    assert isinstance(result.exception, ConfigurationError)
    assert says in str(result.exception)
    assert file.read_text() == content


def test_a_nameless_deployment_and_an_awkward_name_are_no_hindrance(acme: Path) -> None:
    write(acme / "acme_campaigns", "on", "is on", "event", "event('switched_on')")
    check("--write")
    file = acme / "prefect.yaml"
    assert deployments(file)["on"]["entrypoint"] == "acme_campaigns.on.on"
    before = without(file.read_text().replace("  - name: stages", "  - tags: [x]\n  - name: stages"), "hello")
    file.write_text(before)
    assert "number 2 has no name" in check("--write", code=1)
    assert "  - name: hello" in added(before, file.read_text())


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").write_bytes(b"name: caf\xe9")
    for file in ("prefect.yaml", "."):
        result = CliRunner().invoke(app, ["prefect-yaml", "--file", file])
        assert isinstance(result.exception, ConfigurationError)
        assert "cannot be read" in str(result.exception)


def test_triggers_behind_an_anchor_are_left_to_a_person(acme: Path) -> None:
    check("--write")
    file = acme / "prefect.yaml"
    before = re.sub(r"    triggers:\n(      .*\n)+", "    triggers: []\n", file.read_text())
    file.write_text(before)
    result = CliRunner().invoke(app, ["prefect-yaml", "--write"])
    assert "its triggers are not a list with dashes" in str(result.exception)
    assert file.read_text() == before
