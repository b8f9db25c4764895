"""What a rendering does with its data, written down as a straight program that can be run for other data.

A `Trace` follows one rendering whose data are `Symbolic` stand-ins. Everything the template does with them (a
look-up, a filter, a comparison) is done with this contact's value and noted as a step; every place where the way
forks on them (an `if`, the number of turns of a loop) is noted as a decision. For another contact with the same
answers to the same decisions the same steps yield what the template would print: nothing else of the data has
reached the output. All steps are run again, the unused as well, for the errors they may raise.

What could let data slip by unnoticed raises `Unsplittable`: such a way through the template is rendered in full.
"""

import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal
from keyword import iskeyword
from types import GeneratorType
from typing import Any, NamedTuple, Self

from jinja2 import Undefined
from markupsafe import Markup, escape

MARKER = "\ufdd0"
"""Begins the token of a slot in traced output; a noncharacter, no blank and no control character (Unicode 23.7)."""

STEPS_AT_MOST = 500
"""Steps of one way; a longer one (an order of fifty lines) comes too seldom to be worth keeping."""

_INERT = (int, float, str, bool, type(None), date, time, timedelta, Decimal, range, Undefined)
"""Types of constants that cannot hide a stand-in."""

_ITERATORS: tuple[type, ...] = (GeneratorType, type(reversed([])))
"""What filters make of constants; over stand-ins a filter gives a stand-in."""


_MARKUP = re.compile("[&<>'\"]")


class Unsplittable(Exception):
    """This way through the template cannot be written down; it says why."""


class Symbolic:
    """Stands in for something made of a message's data; whatever is not intercepted is refused."""

    __slots__ = ("trace",)

    def __init__(self, trace: "Trace") -> None:
        self.trace = trace

    def value(self) -> "Value":
        """This as a result of a step."""
        raise NotImplementedError

    def _refuse(self, *_operands: object) -> Any:
        raise Unsplittable("the data are used in a way that cannot be followed")

    __eq__ = __ne__ = _refuse
    __hash__ = __repr__ = __format__ = __contains__ = _refuse

    def __len__(self) -> int:
        raise TypeError  # Jinja's loop then counts what it iterates over

    def __bool__(self) -> bool:
        return bool(self.value().decide())

    def __iter__(self) -> Iterator["Value"]:
        value = self.value()
        listed = self.trace.step(f"list({value.name})", value.reading, list(value.concrete), value.steady)
        count = self.trace.decide(f"len({listed.name})", listed.reading, len(listed.concrete))
        items = [
            self.trace.step(f"{listed.name}[{n}]", listed.reading, listed.concrete[n], listed.steady)
            for n in range(count)
        ]
        return iter(items)

    def __getitem__(self, part: Any) -> "Value":
        if not isinstance(part, slice):
            raise Unsplittable("a look-up that is not Jinja's")
        bounds = (part.start, part.stop, part.step)
        return self.trace.apply("part", lambda whole, *cut: whole[slice(*cut)], (self, *bounds), steady=True)


class Value(Symbolic):
    """The result of a step: its value for the contact of this trace, and the number of the step.

    `steady`: may be asked twice and says the same, so that equal steps are taken once. Iterators are not; and as
    other data may give an iterator where these gave a list, only what is sure to be none is steady.
    """

    __slots__ = ("concrete", "index", "steady")

    def __init__(self, trace: "Trace", index: int, concrete: Any, steady: bool) -> None:
        super().__init__(trace)
        self.index, self.concrete, self.steady = index, concrete, steady

    @property
    def name(self) -> str:
        """What the program calls it."""
        return f"v{self.index}"

    @property
    def reading(self) -> "Reading":
        """This as an operand."""
        return Reading(self.name, (self.index,), self.concrete, self.steady)

    def value(self) -> "Value":
        """Itself."""
        return self

    def decide(self) -> Any:
        """Take the way that is right for this contact."""
        return self.trace.decide(f"bool({self.name})", self.reading, bool(self.concrete))

    def __html__(self) -> str:
        return self._printed(f"escaped({self.name})", escaped(self.concrete))

    def __str__(self) -> str:
        return self._printed(f"str({self.name})", str(self.concrete))

    def _printed(self, source: str, text: str) -> str:
        return self.trace.token(self.trace.step(source, self.reading, text, self.steady))


class Once:
    """An iterator that refuses to be asked again once it is used up.

    A loop of a template takes one after another, and what stands in the loop may take some as well; a loop of a
    program takes all at once. Where nobody asks again that is the same.
    """

    __slots__ = ("_left",)

    def __init__(self, made: Iterator[Any]) -> None:
        self._left: Iterator[Any] | None = made

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if self._left is None:
            raise Unsplittable("an iterator is asked again after a loop over it")
        try:
            return next(self._left)
        except StopIteration:
            self._left = None
            raise


class Text(Symbolic):
    """Text that was put together with slots in it, such as a macro's output."""

    __slots__ = ("is_markup", "written")

    def __init__(self, trace: "Trace", written: str, is_markup: bool) -> None:
        super().__init__(trace)
        self.written, self.is_markup = written, is_markup

    def value(self) -> Value:
        """The text, put together by a step."""
        pieces = self.trace.pieces(self.written)
        concrete = "".join(piece if isinstance(piece, str) else piece.concrete for piece in pieces)
        names = "".join(f"{piece!r}, " if isinstance(piece, str) else f"{piece.name}, " for piece in pieces)
        slots = [piece.reading for piece in pieces if isinstance(piece, Value)]
        joined = Reading("", tuple(slot.uses[0] for slot in slots), None, all(slot.steady for slot in slots))
        if self.is_markup:
            return self.trace.step(f"Markup(''.join(({names})))", joined, Markup(concrete), joined.steady)
        return self.trace.step(f"''.join(({names}))", joined, concrete, joined.steady)

    def __bool__(self) -> bool:
        return any(isinstance(piece, str) for piece in self.trace.pieces(self.written)) or super().__bool__()

    def __str__(self) -> str:
        return self.written

    def __html__(self) -> str:
        if self.is_markup:
            return self.written
        pieces = self.trace.pieces(self.written)
        return "".join(str(escape(piece)) if isinstance(piece, str) else piece.__html__() for piece in pieces)


def escaped(value: Any) -> str:
    """Return what Jinja prints for a value in HTML; the short way is for the many texts that need no escaping."""
    kind = type(value)
    if kind is str and _MARKUP.search(value) is None:
        return value  # type: ignore[no-any-return]
    if kind is int:
        return str(value)
    return str(escape(value))


class Reading(NamedTuple):
    """An operand: its source, the steps it uses, its value for this contact, and whether it is steady."""

    source: str
    uses: tuple[int, ...]
    concrete: Any
    steady: bool


class Step(NamedTuple):
    """One line of the program."""

    number: int
    source: str
    uses: tuple[int, ...]


class Decision(NamedTuple):
    """Steps up to a fork, what is asked there, and this contact's answer."""

    steps: tuple[Step, ...]
    question: str
    uses: tuple[int, ...]
    answer: Any


@dataclass(slots=True)
class Constants:
    """What programs refer to by name; shared by all programs of a template."""

    names: dict[str, Any] = field(default_factory=lambda: {"Markup": Markup, "escaped": escaped})
    known: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def source(self, value: Any) -> str:
        """Return the literal, or the name under which the programs find this value."""
        kind = type(value)
        if kind in (str, bool, type(None)) or (kind is int and value >= 0):
            return repr(value)
        if kind in (int, float, Markup, list, tuple, dict):
            key: tuple[Any, ...] = (kind, repr(value)) if _literal(value) else (id(value),)
        elif isinstance(value, Undefined):  # made anew each time, and says the same
            key = (kind, value._undefined_hint, id(value._undefined_obj), value._undefined_name)
        else:
            key = (id(value),)
        if key not in self.known:
            self.known[key] = f"k{len(self.known)}"
            self.names[self.known[key]] = value  # kept, so that its id stays its own
        return self.known[key]


def _literal(value: Any) -> bool:
    """Whether `repr` says all that there is to say about a value."""
    if isinstance(value, dict):
        return type(value) is dict and all(_literal(key) and _literal(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return type(value) in (list, tuple) and all(map(_literal, value))
    return type(value) in (str, bool, int, float, Markup, type(None))


class Trace:
    """One rendering, followed."""

    def __init__(self, constants: Constants, inputs: Mapping[str, Any]) -> None:
        # No text of a template or an option holds the mark, whatever it holds: it is drawn anew each time.
        self.mark = MARKER + secrets.token_hex(8)
        self._token = re.compile(self.mark + "([0-9]+);")
        self.constants = constants
        self.values: list[Value] = []
        self.steps: list[Step] = []
        self.decisions: list[Decision] = []
        self._known: dict[str, Value] = {}
        self._answers: dict[str, Any] = {}
        self.inputs = {name: self._made(value, steady=True) for name, value in inputs.items()}

    def _made(self, concrete: Any, *, steady: bool) -> Value:
        if len(self.values) >= STEPS_AT_MOST:
            raise Unsplittable("it takes too many steps")
        self.values.append(Value(self, len(self.values), concrete, steady))
        return self.values[-1]

    def step(self, source: str, reading: Reading, concrete: Any, steady: bool) -> Value:
        """Note a step whose result for this contact is `concrete`."""
        if steady and source in self._known:
            return self._known[source]
        made = self._made(concrete, steady=steady)
        self.steps.append(Step(made.index, source, reading.uses))
        if steady:
            self._known[source] = made
        return made

    def decide(self, question: str, reading: Reading, answer: Any) -> Any:
        """Note a fork, unless the same was asked before."""
        if question not in self._answers:
            self.decisions.append(Decision(tuple(self.steps), question, reading.uses, answer))
            self.steps = []
            self._answers[question] = answer
        return self._answers[question]

    def apply(
        self,
        name: str,
        function: Callable[..., Any],
        arguments: Sequence[Any],
        named: Mapping[str, Any] | None = None,
        *,
        source: str | None = None,
        steady: bool = False,
    ) -> Value:
        """Note that a function is called; `name` is what the program calls it, `source` a form of its own."""
        if not all(key.isidentifier() and not iskeyword(key) for key in named or ()):
            raise Unsplittable("an argument whose name is none in Python")
        readings = [self.read(argument) for argument in arguments]
        options = {key: self.read(value) for key, value in (named or {}).items()}
        everything = [*readings, *options.values()]
        reading = Reading(
            "", tuple(use for one in everything for use in one.uses), None, all(one.steady for one in everything)
        )
        steady = steady and reading.steady
        if source is None:
            self.constants.names[name] = function
            written = [one.source for one in readings] + [f"{key}={one.source}" for key, one in options.items()]
            source = f"{name}({', '.join(written)})"
        else:
            source = source.format(*(one.source for one in readings))
        if steady and source in self._known:
            return self._known[source]
        concrete = function(*(one.concrete for one in readings), **{key: one.concrete for key, one in options.items()})
        return self.step(source, reading, concrete, steady)

    def read(self, value: Any) -> Reading:
        """Return any value as an operand."""
        value = self.lift(value)
        if isinstance(value, Symbolic):
            if value.trace is not self:
                raise Unsplittable("something was kept from another message")
            return value.value().reading
        if not self.symbolic(value):
            if isinstance(value, _ITERATORS):
                raise Unsplittable("an iterator over constants is used up by the first message")
            return Reading(self.constants.source(value), (), value, True)
        if type(value) is dict:
            keys, items = [self.read(key) for key in value], [self.read(item) for item in value.values()]
            pairs = ", ".join(f"{key.source}: {item.source}" for key, item in zip(keys, items, strict=True))
            concrete: Any = {key.concrete: item.concrete for key, item in zip(keys, items, strict=True)}
            return _container(f"{{{pairs}}}", items, concrete)
        items = [self.read(item) for item in value]
        inner = "".join(f"{item.source}, " for item in items)
        if type(value) is list:
            return _container(f"[{inner}]", items, [item.concrete for item in items])
        return _container(f"({inner})", items, tuple(item.concrete for item in items))

    def symbolic(self, value: Any) -> bool:
        """Whether a value holds a stand-in; refuses what cannot be looked into."""
        if isinstance(value, str):
            return self.mark in value
        if isinstance(value, Symbolic):
            return True
        if type(value) in (list, tuple):
            return True in {self.symbolic(item) for item in value}  # all are looked at, for the refusals
        if type(value) is dict:
            return True in {self.symbolic(item) for item in value.values()}
        if not isinstance(value, _INERT + _ITERATORS):
            raise Unsplittable(f"a {type(value).__name__} cannot be looked into")
        return False

    def lift(self, value: Any) -> Any:
        """Return text with slots in it as a stand-in, anything else as it is."""
        if isinstance(value, str) and self.mark in value:
            return Text(self, str(value), isinstance(value, Markup))
        return value

    def token(self, value: Value) -> str:
        """Return what stands in the output for a value."""
        return f"{self.mark}{value.index};"

    def pieces(self, written: str) -> list[str | Value]:
        """Take output apart into texts and the values between them; texts are not empty."""
        parts = self._token.split(written)
        pieces = [self.values[int(part)] if n % 2 else part for n, part in enumerate(parts)]
        if any(isinstance(piece, str) and self.mark in piece for piece in pieces):
            raise Unsplittable("a filter has cut the place of a value in two")
        return [piece for piece in pieces if isinstance(piece, Value) or piece]


def _container(source: str, items: Sequence[Reading], concrete: Any) -> Reading:
    return Reading(source, tuple(use for item in items for use in item.uses), concrete, all(i.steady for i in items))
