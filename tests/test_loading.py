"""Files that a company writes: whatever is wrong in one is a sentence with its place."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evergreet.errors import ConfigurationError, DefinitionError, EvergreetError
from evergreet.lifecycle import lifecycle
from evergreet.registry import find_campaigns

Write = Callable[[str], None]

LIFECYCLE = """
from evergreet.lifecycle import Lifecycle, Rule, Stage

ours = Lifecycle("acme", (Stage("lead", "Lead"), Stage("customer", "Customer")), (Rule("customer", on=("bought",)),))
"""

NO_TOPIC = """from evergreet.campaign import Campaign, Email, event
campaign = Campaign("welcome", trigger=event("login"), steps=(Email("hello", template="x"),))
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module of a package that is importable."""
    (tmp_path / "written_by_acme").mkdir()
    (tmp_path / "written_by_acme" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    def written(text: str) -> None:
        (tmp_path / "written_by_acme" / "file.py").write_text(text)
        for name in [name for name in sys.modules if name.startswith("written_by_acme")]:
            monkeypatch.delitem(sys.modules, name)

    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two texts within a second look alike to it
    return written


def said(read: Callable[[str], object], name: str) -> str:
    with pytest.raises(EvergreetError) as found:
        read(name)
    return str(found.value)


def test_a_wrong_word_in_a_lifecycle_is_a_sentence_with_its_place(write: Write) -> None:
    name = "written_by_acme.file:ours"
    write(LIFECYCLE)
    assert lifecycle(name).name == "acme"
    for right, wrong, sentence in (
        ('Rule("customer"', 'Rule("custommer"', "line 4: lifecycle 'acme', rule 1 (to 'custommer'): there is no stage"),
        ('Stage("lead", ', "Stage(", "line 4: TypeError: Stage.__init__() missing 1 required positional argument"),
        ("(Rule(", "rulez=(Rule(", "line 4: TypeError: Lifecycle.__init__() got an unexpected keyword argument"),
        ("ours = Lifecycle(", "ours = Lifecicle(", "line 4: NameError: name 'Lifecicle' is not defined"),
        ('"Lead")', '"Lead"', "line 4: '(' was never closed: ours = Lifecycle("),
        ("import Lifecycle, ", "import Lifecycel, ", "line 2: ImportError: cannot import name 'Lifecycel'"),
    ):
        write(LIFECYCLE.replace(right, wrong, 1))
        assert f"file.py, {sentence}" in said(lifecycle, name)
    write(LIFECYCLE.replace("ours =", "theirs ="))
    assert "has no attribute 'ours'" in said(lifecycle, name)
    assert "No module named 'written_by_nobody'" in said(lifecycle, "written_by_nobody.file:ours")


def test_a_wrong_word_in_a_campaign_is_a_sentence_with_its_place(write: Write) -> None:
    with pytest.raises(ConfigurationError, match="there is no such package"):
        find_campaigns("written_by_nobody")
    for text, sentence in (
        ("import no_such_package", "line 1: ModuleNotFoundError: No module named 'no_such_package'"),
        ("from evergreet.campaign import Campaign\ncampaign = Campaign('a', stepz=())", "line 2: TypeError: Campaign."),
        (NO_TOPIC, "line 2: campaign 'welcome', step 'hello': "),
        ("1 +", "line 1: invalid syntax: 1 +"),
        ("", "this one has none"),
    ):
        write(text)
        with pytest.raises(DefinitionError) as found:
            find_campaigns("written_by_acme")
        assert sentence in str(found.value)
        assert "file.py" in str(found.value)
    with pytest.raises(ConfigurationError, match="this is one file; name the package"):
        find_campaigns("written_by_acme.file")
