"""A template's skeletons and slots: what is equal for many contacts is kept, what differs is worked out.

The ways through a template form a tree: steps up to a decision, and further steps after each answer; at its leaves
stand skeletons. A way is entered when a contact first takes it (`Ways.learn`), and used once its skeleton, filled
in, was byte for byte what the full rendering gave.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from itertools import count
from typing import Any, TypeAlias

from evergreet.contracts import Skeleton, Split
from evergreet.inlining import MARK as STYLE_MARK
from evergreet.posting import CONTROL, single_line, tidy
from evergreet.tracing import Constants, Decision, Step, Trace, Unsplittable, Value

INPUTS = ("contact", "event", "occurred_at", "locale", "timezone", "unsubscribe_url", "picked", "nth")
"""What differs from message to message; all else is the same for all messages of one tree."""

Inputs: TypeAlias = tuple[
    Mapping[str, Any], Mapping[str, Any], datetime, str, str, str | None, Mapping[str, Any], int | None
]

LEARNED_AT_MOST = 200
"""Ways in one tree; what goes yet another way is rendered in full."""

STEPS_AT_MOST = 10_000
"""Steps of all ways of one tree, each about 400 bytes: what is kept stays small whatever the data are."""

JOINED_STEPS_AT_MOST = 2_000
"""Steps of a tree that is still written as one function; a larger one is followed branch by branch."""

_BLANK = " \t\u00a0"
_NUMBERS = count()

Pieces: TypeAlias = tuple[str | int, ...]
Filled: TypeAlias = tuple["Leaf", str, str | None, tuple[str, ...]]
"""A leaf with what a message has of its own: the subject, the HTML where that is needed for the text part, and the
values for the slots of the leaf's skeleton."""


@dataclass(slots=True)
class Branch:
    """Steps up to a decision, and what follows each answer."""

    source: str
    lines: Sequence[str]
    question: str
    run: Callable[[list[Any]], Any]
    children: "dict[Any, Branch | Leaf | None]" = field(default_factory=dict)


@dataclass(slots=True)
class Leaf:
    """The last steps of a way, and what is put together after them.

    `run` gives None where a value of this contact touches the text around it (a blank at its end, a line break, a
    control character): what rendering does to the whole text then is not done to its parts. `proven` once it gave
    what the full rendering gave. `has_text` where the text part has a template of its own: only then is the message
    one that can be handed on as `skeleton` and values.
    """

    name: str
    lines: Sequence[str]
    skeleton: Skeleton
    has_text: bool
    shows_unsubscribe: bool
    run: Callable[[list[Any]], Filled | None] = field(init=False)
    proven: bool = False


class Ways:
    """The known ways through one template, in one language and for one set of options; grown by one thread."""

    def __init__(self, constants: Constants, name: str) -> None:
        self.constants = constants
        self.name = name
        self.learned = 0
        self.steps = 0
        self.joined: Callable[..., Filled | None] | None = None
        self._root: dict[Any, Branch | Leaf | None] = {}
        self._leaves = self._joined_leaves = self._detours = 0

    @property
    def full(self) -> bool:
        """Whether nothing more is learned."""
        return self.learned >= LEARNED_AT_MOST or self.steps >= STEPS_AT_MOST

    def find(self, values: list[Any]) -> tuple[Leaf | None, bool]:
        """Follow the way of a contact, whose inputs are in `values`: the leaf, and whether the way is known.

        A known way may have no leaf: it cannot be split. The results of steps are appended to `values`; whatever
        they raise, the full rendering would raise as well.
        """
        children, answer = self._root, None
        while True:
            child = children.get(answer, self)
            if type(child) is not Branch:
                return (None, False) if child is self else (child, True)  # type: ignore[return-value]
            answer = child.run(values)
            children = child.children

    def learn(self, trace: Trace, leaf: Leaf | None) -> None:
        """Enter the way of a trace; without a leaf it is known to be one that cannot be split."""
        self.steps += len(trace.values)
        self._leaves += leaf is not None
        children, answer = self._root, None
        for decision in trace.decisions:
            lines = _lines(decision.steps)
            source = _branch_source(decision, lines)
            child = children.get(answer)
            if child is None:
                if answer in children:
                    return
                run = _compiled(source, self.constants, self.name)
                child = children[answer] = Branch(source, lines, decision.question, run)
            if not isinstance(child, Branch) or child.source != source:
                self.learned = LEARNED_AT_MOST  # the template does not do the same twice
                return
            children, answer = child.children, decision.answer
        children.setdefault(answer, leaf)

    def went_by_branches(self) -> None:
        """Count a message that took a known way branch by branch; after some the whole tree is written as one function.

        `joined` takes the inputs, asks what the branches ask, and does what the leaf does; where a way is not in it
        it gives None. It is written again where something was learned since: the more there is, the later.
        """
        self._detours += 1
        if self._leaves > self._joined_leaves and self._detours >= 32 * self._leaves:
            self._detours, self._joined_leaves = 0, self._leaves
            self.write_as_one()

    def write_as_one(self) -> None:
        """Write all branches and leaves as one function, where they are not too many."""
        if self.steps > JOINED_STEPS_AT_MOST:
            self.joined = None
            return
        leaves: dict[str, Leaf] = {}
        inputs = ", ".join(f"v{number}" for number in range(len(INPUTS)))
        lines = [f"def way({inputs}):", *_tree(self._root.get(None), " ", leaves)]
        with suppress(SyntaxError, RecursionError):  # Python does not take what is nested too deep
            self.joined = _compiled("\n".join(lines) + "\n", self.constants, self.name, **leaves)


def _tree(child: Branch | Leaf | None, indent: str, leaves: dict[str, Leaf]) -> Iterator[str]:
    """Write what is done from a branch on; the last answer is not indented, so that a long way stays flat."""
    while isinstance(child, Branch):
        if not child.children:
            yield f"{indent}return None"
            return
        yield from (indent + line for line in child.lines)
        yield f"{indent}answer = {child.question}"
        *others, (answer, last) = child.children.items()
        for other, following in others:
            yield f"{indent}if answer == {other!r}:"
            yield from _tree(following, indent + " ", leaves)
        yield f"{indent}if answer != {answer!r}: return None"
        child = last
    if child is None:
        yield f"{indent}return None"
    else:
        leaves[child.name] = child
        yield from (indent + line for line in child.lines)


def skeleton_of(slots: int, subject: Pieces, html: Pieces, text: Pieces) -> Skeleton:
    """Return the skeleton of these parts; its key names them."""
    key = blake2b(repr((subject, html, text)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return Skeleton(key, slots, subject, html, text)


def leaf_of(trace: Trace, constants: Constants, template: str, written: Sequence[str | None]) -> Leaf:
    """Make the leaf of a finished trace from its three parts; the text part is None where it is made of the HTML."""
    subject, html, text = written
    assert subject is not None
    assert html is not None
    subject_pieces = [
        trace.apply("single_line", single_line, (piece,), steady=True) if isinstance(piece, Value) else piece
        for piece in trace.pieces(single_line(_with_empty_left_out(trace, subject)))
    ]
    subject_slots = [piece for piece in trace.pieces(subject) if isinstance(piece, Value) and piece.concrete]
    html_pieces = trace.pieces(CONTROL.sub("", html))
    text_pieces = trace.pieces(tidy(_with_empty_left_out(trace, text))) if text is not None else []
    _check_style(html_pieces)
    parts = _Parts(subject_pieces, subject_slots, html_pieces, text_pieces)
    name = f"leaf{next(_NUMBERS)}"
    constants.names |= {"single_line": single_line, "is_wild": is_wild}
    url = trace.inputs["unsubscribe_url"]
    shown = [piece for pieces in (html_pieces, text_pieces) for piece in pieces if isinstance(piece, Value)]
    has_text = text is not None
    lines = parts.lines(trace.steps, name, has_text=has_text)
    made = Leaf(name, lines, parts.skeleton(), has_text, _shows(trace, url, shown, has_text))
    made.run = _compiled(parts.source(trace.steps, made.lines), constants, template, **{name: made})
    return made


def _with_empty_left_out(trace: Trace, written: str) -> str:
    """Decide for each slot whether it is empty: where it is, blanks and lines around it fall together."""
    return "".join(piece if isinstance(piece, str) else trace.token(piece) for piece in trace.pieces(written) if piece)


def _shows(trace: Trace, url: Value, shown: Iterable[Value], has_text: bool) -> bool:
    """Whether the unsubscribe link stands in both parts, whoever it is for."""
    wanted = {f"escaped({url.name})"} | ({f"str({url.name})"} if has_text else set())
    printed = {value.index for value in shown}
    found = {
        step.source
        for steps in [*(decision.steps for decision in trace.decisions), trace.steps]
        for step in steps
        if step.number in printed
    }
    return has_text and wanted <= found


@dataclass(slots=True)
class _Parts:
    """The pieces of a message, and the function that puts them together."""

    subject: list[str | Value]
    subject_slots: list[Value]
    html: list[str | Value]
    text: list[str | Value]

    def slots(self) -> dict[int, int]:
        """Number the slots, by the number of the value that goes there."""
        values = [piece for part in (self.subject, self.html, self.text) for piece in part if isinstance(piece, Value)]
        return {index: n for n, index in enumerate(dict.fromkeys(value.index for value in values))}

    def skeleton(self) -> Skeleton:
        """Return what all messages of this way share."""
        slots = self.slots()
        subject, html, text = (
            tuple(slots[piece.index] if isinstance(piece, Value) else piece for piece in part)
            for part in (self.subject, self.html, self.text)
        )
        return skeleton_of(len(slots), subject, html, text)

    def lines(self, steps: Sequence[Step], leaf: str, *, has_text: bool) -> list[str]:
        """Write the last steps, the checks of `Leaf`, and what is put together."""
        lines = _lines(steps)
        in_subject = [value.name for value in _once(self.subject_slots)]
        in_text = [value.name for value in _once(self.text)]
        checks = [f"{name}.strip() != {name}" for name in in_subject]
        checks += [f"{name}[-1] in {_BLANK!r}" for name in in_text if name not in in_subject]
        if checks:
            lines.append(f"if {' or '.join(checks)}: return None")
        html, text = (_tuple(value.name for value in _once(part)) for part in (self.html, self.text))
        lines += [
            f"subject = ''.join({_tuple(_sources(self.subject))})",
            f"values = {_tuple(f'v{index}' for index in self.slots())}",
            "shown = ''.join(values)",
            "if not subject or '<' in shown or not shown.isprintable():",
            f"    if not subject or is_wild({html}, {text}): return None",
        ]
        if not has_text:
            lines.append(f"html = ''.join({_tuple(_sources(self.html))})")
        lines.append(f"return {leaf}, subject, {'None' if has_text else 'html'}, values")
        return lines

    def source(self, steps: Sequence[Step], lines: Sequence[str]) -> str:
        """Write the function that goes on after the last branch."""
        used = [use for step in steps for use in step.uses]
        used += [v.index for part in (self.subject, self.subject_slots, self.html, self.text) for v in _once(part)]
        return _function(steps, used, lines)


def _once(pieces: Iterable[str | Value]) -> list[Value]:
    return list({piece.index: piece for piece in pieces if isinstance(piece, Value)}.values())


def _sources(pieces: Iterable[str | Value]) -> Iterable[str]:
    return (repr(piece) if isinstance(piece, str) else piece.name for piece in pieces)


def _tuple(sources: Iterable[str]) -> str:
    return f"({''.join(f'{source}, ' for source in sources)})"


def _lines(steps: Sequence[Step]) -> list[str]:
    return [f"v{step.number} = {step.source}" for step in steps]


def _branch_source(decision: Decision, lines: Sequence[str]) -> str:
    lines = [*lines]
    if decision.steps:
        lines.append(f"values += {_tuple(f'v{step.number}' for step in decision.steps)}")
    lines.append(f"return {decision.question}")
    return _function(decision.steps, [*(use for step in decision.steps for use in step.uses), *decision.uses], lines)


def _function(steps: Sequence[Step], used: Iterable[int], lines: Sequence[str]) -> str:
    own = {step.number for step in steps}
    loads = [f"v{index} = values[{index}]" for index in sorted(set(used) - own)]
    return "def way(values):\n" + "".join(f"    {line}\n" for line in [*loads, *lines])


def _compiled(source: str, constants: Constants, name: str, **leaves: Leaf) -> Callable[..., Any]:
    local: dict[str, Any] = {}
    names: Mapping[str, Any] = constants.names if not leaves else {**constants.names, **leaves}
    exec(compile(source, f"<a way through {name}>", "exec"), names, local)  # type: ignore[arg-type]
    made: Callable[..., Any] = local["way"]
    return made


STYLE_TAILS = tuple(STYLE_MARK[:length] for length in range(1, len(STYLE_MARK)))


def _check_style(html: Sequence[str | Value]) -> None:
    """Refuse a message whose style sheet is to be worked into it, and one where a value could bring the mark about."""
    for piece in html:
        if isinstance(piece, str) and (STYLE_MARK in piece or piece.endswith(STYLE_TAILS)):
            raise Unsplittable("its style sheet is worked into it")


def is_wild(in_html: Sequence[str], in_text: Sequence[str]) -> bool:
    """Whether values do more than stand in their place: they hold control characters, lines, or a style sheet."""
    html, text = "".join(in_html), "".join(in_text)
    return (
        CONTROL.search(html) is not None
        or CONTROL.search(text) is not None
        or "\n" in text
        or ("<" in html and any(STYLE_MARK in value or value.endswith(STYLE_TAILS) for value in in_html))
    )


def filled(split: Split) -> tuple[str, str, str]:
    """Return subject, HTML and text of a split message."""
    return split.part("subject"), split.part("html"), split.part("text")
