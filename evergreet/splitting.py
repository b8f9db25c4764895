"""A template's skeletons and slots: what is equal for many contacts is kept, what differs is worked out.

The ways through a template form a tree: steps up to a decision, and further steps after each answer; at its leaves
stand skeletons. A way is entered when a contact first takes it (`Ways.learn`), and used once its skeleton, filled
in, was byte for byte what the full rendering gave.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, TypeAlias

from evergreet.contracts import Skeleton, Split
from evergreet.inlining import MARK as STYLE_MARK
from evergreet.posting import CONTROL, single_line, tidy
from evergreet.tracing import Constants, Decision, Step, Trace, Unsplittable, Value

INPUTS = ("contact", "event", "occurred_at", "locale", "timezone", "unsubscribe_url", "picked", "nth")
"""What differs from message to message; all else is the same for all messages of one tree."""

LEARNED_AT_MOST = 200
"""Ways in one tree; what goes yet another way is rendered in full."""

STEPS_AT_MOST = 10_000
"""Steps of all ways of one tree, each about 400 bytes: what is kept stays small whatever the data are."""

_BLANK = " \t\u00a0"

Pieces: TypeAlias = tuple[str | int, ...]
Filled: TypeAlias = tuple[str, str, str | None, Split | None]


@dataclass(slots=True)
class Branch:
    """Steps up to a decision, and what follows each answer."""

    source: str
    run: Callable[[list[Any]], Any]
    children: "dict[Any, Branch | Leaf | None]" = field(default_factory=dict)


@dataclass(slots=True)
class Leaf:
    """The last steps of a way, and what is put together after them.

    `run` gives None where a value of this contact touches the text around it (a blank at its end, a line break, a
    control character): what rendering does to the whole text then is not done to its parts. `proven` once it gave
    what the full rendering gave.
    """

    run: Callable[[list[Any]], Filled | None]
    shows_unsubscribe: bool
    proven: bool = False


class Ways:
    """The known ways through one template, in one language and for one set of options; grown by one thread."""

    def __init__(self, constants: Constants, name: str) -> None:
        self.constants = constants
        self.name = name
        self.learned = 0
        self.steps = 0
        self._root: dict[Any, Branch | Leaf | None] = {}

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
        children, answer = self._root, None
        for decision in trace.decisions:
            source = _branch_source(decision)
            child = children.get(answer)
            if child is None:
                if answer in children:
                    return
                child = children[answer] = Branch(source, _compiled(source, self.constants, self.name))
            if not isinstance(child, Branch) or child.source != source:
                self.learned = LEARNED_AT_MOST  # the template does not do the same twice
                return
            children, answer = child.children, decision.answer
        children.setdefault(answer, leaf)


def leaf_of(trace: Trace, constants: Constants, name: str, written: Sequence[str | None]) -> Leaf:
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
    skeleton = parts.skeleton()
    source = parts.source(trace.steps, text is not None)
    constants.names |= {"single_line": single_line, "is_wild": is_wild, "tails": STYLE_TAILS, "Split": Split}
    url = trace.inputs["unsubscribe_url"]
    shown = [piece for pieces in (html_pieces, text_pieces) for piece in pieces if isinstance(piece, Value)]
    return Leaf(_compiled(source, constants, name, skeleton=skeleton), _shows(trace, url, shown, text is not None))


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
        key = blake2b(repr((subject, html, text)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return Skeleton(key, len(slots), subject, html, text)

    def source(self, steps: Sequence[Step], has_text: bool) -> str:
        """Write the function: the last steps, the checks of `Leaf`, and the parts."""
        lines = [f"v{step.number} = {step.source}" for step in steps]
        checks = [f"{v.name}[0].isspace() or {v.name}[-1].isspace()" for v in _once(self.subject_slots)]
        checks += [f"{value.name}[-1] in {_BLANK!r}" for value in _once(self.text)]
        if checks:
            lines.append(f"if {' or '.join(checks)}: return None")
        html, text = (_tuple(value.name for value in _once(part)) for part in (self.html, self.text))
        lines += [
            f"subject = ''.join({_tuple(_sources(self.subject))})",
            f"in_html, in_text = {html}, {text}",
            "html_values, text_values = ''.join(in_html), ''.join(in_text)",
            "if not subject or '<' in html_values or not (html_values.isprintable() and text_values.isprintable()):",
            "    if not subject or is_wild(in_html, html_values, text_values): return None",
            f"html = ''.join({_tuple(_sources(self.html))})",
        ]
        if has_text:
            values = _tuple(f"v{index}" for index in self.slots())
            lines.append(f"text = ''.join({_tuple(_sources(self.text))})")
            lines.append(f"return subject, html, text, Split(skeleton, {values})")
        else:
            lines.append("return subject, html, None, None")
        used = [use for step in steps for use in step.uses]
        used += [v.index for part in (self.subject, self.subject_slots, self.html, self.text) for v in _once(part)]
        return _function(steps, used, lines)


def _once(pieces: Iterable[str | Value]) -> list[Value]:
    return list({piece.index: piece for piece in pieces if isinstance(piece, Value)}.values())


def _sources(pieces: Iterable[str | Value]) -> Iterable[str]:
    return (repr(piece) if isinstance(piece, str) else piece.name for piece in pieces)


def _tuple(sources: Iterable[str]) -> str:
    return f"({''.join(f'{source}, ' for source in sources)})"


def _branch_source(decision: Decision) -> str:
    lines = [f"v{step.number} = {step.source}" for step in decision.steps]
    if decision.steps:
        lines.append(f"values += {_tuple(f'v{step.number}' for step in decision.steps)}")
    lines.append(f"return {decision.question}")
    return _function(decision.steps, [*(use for step in decision.steps for use in step.uses), *decision.uses], lines)


def _function(steps: Sequence[Step], used: Iterable[int], lines: Sequence[str]) -> str:
    own = {step.number for step in steps}
    loads = [f"v{index} = values[{index}]" for index in sorted(set(used) - own)]
    return "def way(values):\n" + "".join(f"    {line}\n" for line in [*loads, *lines])


def _compiled(source: str, constants: Constants, name: str, **more: Any) -> Callable[[list[Any]], Any]:
    local: dict[str, Any] = {}
    names: Mapping[str, Any] = constants.names if not more else {**constants.names, **more}
    exec(compile(source, f"<a way through {name}>", "exec"), names, local)  # type: ignore[arg-type]
    made: Callable[[list[Any]], Any] = local["way"]
    return made


STYLE_TAILS = tuple(STYLE_MARK[:length] for length in range(1, len(STYLE_MARK)))


def _check_style(html: Sequence[str | Value]) -> None:
    """Refuse a message whose style sheet is to be worked into it, and one where a value could bring the mark about."""
    for piece in html:
        if isinstance(piece, str) and (STYLE_MARK in piece or piece.endswith(STYLE_TAILS)):
            raise Unsplittable("its style sheet is worked into it")


def is_wild(in_html: Sequence[str], html: str, text: str) -> bool:
    """Whether values do more than stand in their place: they hold control characters, lines, or a style sheet."""
    return (
        CONTROL.search(html) is not None
        or CONTROL.search(text) is not None
        or "\n" in text
        or ("<" in html and any(STYLE_MARK in value or value.endswith(STYLE_TAILS) for value in in_html))
    )


def filled(split: Split) -> tuple[str, str, str]:
    """Return subject, HTML and text of a split message."""
    skeleton, values = split.skeleton, split.values
    subject, html, text = (
        "".join(piece if isinstance(piece, str) else values[piece] for piece in part)
        for part in (skeleton.subject, skeleton.html, skeleton.text)
    )
    return subject, html, text
