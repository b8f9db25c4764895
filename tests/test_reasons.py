"""Every reason that the engine stores has a sentence, and every sentence a reason that is stored."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

from evergreet.reasons import BEGINNINGS, REASONS, explained, meaning

ENGINE = Path(__file__).resolve().parents[1] / "evergreet"
DECISIONS = {"Skip", "Defer", "Wait", "Limit", "_wait"}
"""What gates and caps answer with; each takes its reason as a text."""


CONSTANTS = {
    target.id: str(value)
    for path in ENGINE.glob("*.py")
    for node in ast.parse(path.read_text("utf-8")).body
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    for target, value in [(node.targets[0], node.value.value)]
    if isinstance(target, ast.Name) and isinstance(value, str)
}
"""Texts that have a name."""


def texts(node: ast.AST) -> Iterator[str]:
    """The texts of an expression that may be a reason: a constant, either side of an if, the start of an f-string."""
    match node:
        case ast.Constant(value=str(text)) if text:
            yield text
        case ast.Name(id=name) if name in CONSTANTS:
            yield CONSTANTS[name]
        case ast.IfExp(body=body, orelse=other):
            yield from texts(body)
            yield from texts(other)
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            yield text
        case ast.Call(func=ast.Name(id="case"), args=args, keywords=keywords):
            for part in (*args, *(keyword.value for keyword in keywords)):
                yield from (text for each in ast.walk(part) if isinstance(each, ast.Constant) for text in texts(each))


def _is_text(key: ast.expr | None) -> TypeGuard[ast.Constant]:
    return isinstance(key, ast.Constant)


def stored() -> set[str]:
    """What the modules of the ledger write as a reason, read from their source."""
    found: set[str] = set()
    for name in ("gates", "caps", "holdout", "ledger", "settling", "worker", "campaigns", "reconcile"):
        for node in ast.walk(ast.parse((ENGINE / f"{name}.py").read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=called), args=args) if called in DECISIONS:
                    found.update(text for part in args for text in texts(part))
                case ast.Assign(targets=[ast.Name(id="reason")], value=value):
                    found.update(texts(value))
                case ast.keyword(arg="reason", value=value) if name not in {"gates", "caps"}:
                    found.update(texts(value))
                case ast.Dict(keys=keys, values=values) if name not in {"gates", "caps"}:
                    given = {key.value: value for key, value in zip(keys, values, strict=True) if _is_text(key)}
                    if {"state", "reason"} <= set(given):
                        found.update(texts(given["reason"]))
                case ast.Return(value=ast.Constant(value=str(text))) if name == "holdout":
                    found.add(text)
    return found


def test_what_the_ledger_stores_is_explained() -> None:
    found = stored()
    assert {"suppressed", "quiet_hours", "frequency_cap", "priority", "holdout", "campaign_stopped"} <= found
    assert [reason for reason in sorted(found) if meaning(reason) is None] == []


@pytest.mark.parametrize("reason", [*REASONS, *BEGINNINGS])
def test_what_is_explained_can_be_stored(reason: str) -> None:
    sources = "".join(path.read_text("utf-8") for path in ENGINE.glob("*.py") if path.name != "reasons.py")
    assert f'"{reason}' in sources


def test_a_reason_stands_with_what_it_means_and_a_providers_words_alone() -> None:
    assert explained("erased") == "erased: the contact was erased"
    assert explained("poison: in hand when its worker died").endswith("two workers died with this message in hand")
    assert explained("554 no") == "554 no"
