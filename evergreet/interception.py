"""A Jinja environment in which everything a template does with the message's data is noted in a `Trace`.

It compiles templates as the plain environment does, constant folding included, but for this: operators,
comparisons and blocks whose output becomes a value go through the environment. Filters, tests, look-ups and
calls do so anyway.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinMethodType, MethodType
from typing import Any

from jinja2 import nodes, pass_context, pass_environment, pass_eval_context
from jinja2.compiler import CodeGenerator, Frame, operators, optimizeconst
from jinja2.runtime import BlockReference, Context, LoopContext, Macro
from jinja2.utils import Cycler, Joiner, Namespace, _PassArg
from markupsafe import Markup

from evergreet.localization import PLACED, translated
from evergreet.sandbox import Sandbox, sandbox
from evergreet.tracing import Constants, Once, Symbolic, Trace, Unsplittable, Value

ALWAYS = PLACED | {"map"}
"""Filters that give something else in another place, also for a constant; `map` may call them by name."""

ITERATORS = frozenset(
    {"batch", "items", "map", "reject", "rejectattr", "reverse", "select", "selectattr", "slice", "unique"}
)
"""Filters that may give an iterator; what they give is `Once`."""

SHALLOW = frozenset({"defined", "undefined", "none", "callable", "mapping", "iterable", "sequence", "string"})
"""Tests that look at a value's type only: a list of stand-ins is a list."""

MAKERS = (Namespace, Cycler, Joiner, dict)
"""What only keeps what it is given."""

_PLAIN_FORMAT = re.compile(r"(?:[^%]|%%|%\(\w+\)s)*")
_DECORATORS: Mapping[_PassArg, Callable[[Any], Any]] = {
    _PassArg.context: pass_context,
    _PassArg.eval_context: pass_eval_context,
    _PassArg.environment: pass_environment,
}


class _Operator:
    """Writes an arithmetic operator as a call of the environment; folds constants as Jinja does."""

    def __init__(self, sign: str) -> None:
        @optimizeconst
        def visit(generator: CodeGenerator, node: Any, frame: Frame) -> None:
            generator.write(f"environment.operate({sign!r}, ")
            for operand in [node.left, node.right] if isinstance(node, nodes.BinExpr) else [node.node]:
                generator.visit(operand, frame)
                generator.write(", ")
            generator.write(")")

        self.visit = visit


class Code(CodeGenerator):
    """Writes templates so that the environment hears of everything; otherwise as Jinja does."""

    visit_Add = _Operator("+").visit
    visit_Sub = _Operator("-").visit
    visit_Mul = _Operator("*").visit
    visit_Div = _Operator("/").visit
    visit_FloorDiv = _Operator("//").visit
    visit_Pow = _Operator("**").visit
    visit_Mod = _Operator("%").visit
    visit_Pos = _Operator("+").visit
    visit_Neg = _Operator("-").visit

    @optimizeconst
    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        """Write `~`."""
        self.write("environment.join(")
        if frame.eval_ctx.volatile:  # as Jinja has it: volatile is asked, not autoescape
            self.write("(markup_join if context.eval_ctx.volatile else str_join)")
        else:
            self.write("markup_join" if frame.eval_ctx.autoescape else "str_join")
        for part in node.nodes:
            self.write(", ")
            self.visit(part, frame)
        self.write(")")

    @optimizeconst
    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:
        """Write a comparison or a chain of them."""
        self.write("(environment.operand(")
        self.visit(node.expr, frame)
        self.write(")")
        for other in node.ops:
            self.visit(other, frame)
        self.write(")")

    def visit_Operand(self, node: nodes.Operand, frame: Frame) -> None:
        """Write a further side of a comparison."""
        self.write(f" {operators[node.op]} environment.operand(")
        self.visit(node.expr, frame)
        self.write(")")

    def visit_CallBlock(self, node: nodes.CallBlock, frame: Frame) -> None:
        """Write `{% call %}`, whose result is put out as it is."""
        call_frame, macro = self.macro_body(node, frame)
        self.writeline("caller = ")
        self.macro_def(macro, call_frame)
        self.start_write(frame, node)
        self.write("environment.piece(")
        self.visit_Call(node.call, frame, forward_caller=True)
        self.write(")")
        self.end_write(frame)

    def visit_FilterBlock(self, node: nodes.FilterBlock, frame: Frame) -> None:
        """Write `{% filter %}`, whose result is put out as it is."""
        inner = frame.inner()
        inner.symbols.analyze_node(node)
        self.enter_frame(inner)
        self.buffer(inner)
        self.blockvisit(node.body, inner)
        self.start_write(frame, node)
        self.write("environment.piece(")
        self.visit_Filter(node.filter, inner)
        self.write(")")
        self.end_write(frame)
        self.leave_frame(inner)

    def visit_AssignBlock(self, node: nodes.AssignBlock, frame: Frame) -> None:
        """Write `{% set %}…{% endset %}`."""
        self.push_assign_tracking()
        block = frame.inner()
        block.require_output_check = False
        block.symbols.analyze_node(node)
        self.enter_frame(block)
        self.buffer(block)
        self.blockvisit(node.body, block)
        self.newline(node)
        self.visit(node.target, frame)
        self.write(" = environment.kept(context.eval_ctx.autoescape, ")
        if node.filter is not None:
            self.visit_Filter(node.filter, block)
        else:
            self.write(f"concat({block.buffer})")
        self.write(")")
        self.pop_assign_tracking(frame)
        self.leave_frame(block)


class _Operand:
    """One side of a comparison, so that chains of them stop where Python stops them."""

    __slots__ = ("environment", "value")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, made: "TracingSandbox", value: Any) -> None:
        self.environment, self.value = made, value

    def __eq__(self, other: Any) -> Any:
        return self.environment.operate("==", self.value, other.value)

    def __ne__(self, other: Any) -> Any:
        return self.environment.operate("!=", self.value, other.value)

    def __lt__(self, other: Any) -> Any:
        return self.environment.operate("<", self.value, other.value)

    def __le__(self, other: Any) -> Any:
        return self.environment.operate("<=", self.value, other.value)

    def __gt__(self, other: Any) -> Any:
        return self.environment.operate(">", self.value, other.value)

    def __ge__(self, other: Any) -> Any:
        return self.environment.operate(">=", self.value, other.value)

    def __contains__(self, item: Any) -> bool:
        return bool(self.environment.operate("in", item.value, self.value))


_SIGNS: Mapping[str, Callable[..., Any]] = {"+": operator.pos, "-": operator.neg}
_OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "**": operator.pow,
    "%": operator.mod,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda item, container: item in container,
}


class TracingSandbox(Sandbox):
    """The sandbox, with everything that is done to stand-ins noted in `trace`; one thread at a time."""

    code_generator_class = Code
    trace: Trace | None = None
    plain: Sandbox

    def watch(self, plain: Sandbox, constants: Constants) -> None:
        """Do as `plain` does, which also runs the steps."""
        self.plain = plain
        self.globals = plain.globals
        self._functions = {id(function): name for name, function in reversed(plain.globals.items())}
        self._contexts = (Context(plain, {}, "plain.txt", {}), Context(plain, {}, "plain.html", {}))
        constants.names |= {"attribute": plain.getattr, "item": plain.getitem}
        self.filters = {name: self._watched("filter", name, function) for name, function in plain.filters.items()}
        tests: Mapping[str, Any] = plain.tests
        self.tests = {name: self._watched("test", name, function) for name, function in tests.items()}

    def _watched(self, kind: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        passed = _PassArg.from_obj(function)
        called = f"{kind}_{re.sub('[^a-z_]', '', name) or f'sign_{len(name)}_{ord(name[0])}'}"

        def watched(*arguments: Any, **named: Any) -> Any:
            trace = self.trace
            if trace is None:  # Jinja folds constants
                return function(*arguments, **named)
            first, call = "", function
            if passed is not None:
                mode = arguments[0].eval_ctx if passed is _PassArg.context else arguments[0]
                escapes = passed is not _PassArg.environment and bool(mode.autoescape)
                place = self._contexts[escapes]
                given: Any = {
                    _PassArg.context: place, _PassArg.eval_context: place.eval_ctx, _PassArg.environment: self.plain,
                }[passed]  # fmt: skip
                arguments = arguments[1:]
                first = "" if name in PLACED else "_html" if escapes else "_text"  # those look at nothing in it
                call = _with_first(function, given)
            if kind == "filter" and name in ITERATORS:
                call = _giving_once(call)
            if kind == "test" and name in SHALLOW and not isinstance(trace.lift(arguments[0]), Symbolic):
                return call(*arguments, **named)
            if name not in ALWAYS and not (trace.symbolic(arguments) | trace.symbolic(named)):
                return call(*arguments, **named)
            steady = kind == "test" or name not in ITERATORS
            return trace.apply(called + first, call, arguments, named, steady=steady)

        return _DECORATORS[passed](watched) if passed is not None else watched

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look up `obj.attribute`."""
        if self.trace is None or not isinstance(obj, Symbolic):
            return super().getattr(obj, attribute)
        return self._looked_up("attribute", self.plain.getattr, obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Look up `obj[argument]`."""
        trace = self.trace
        if trace is None or not (isinstance(obj, Symbolic) or trace.symbolic(argument)):
            return super().getitem(obj, argument)
        if isinstance(argument, str) and not trace.symbolic(argument):
            return self._looked_up("item", self.plain.getitem, obj, argument)
        return trace.apply("item", self.plain.getitem, (obj, argument), steady=True)

    def _looked_up(self, how: str, function: Callable[..., Any], obj: Symbolic, name: str) -> Value:
        assert self.trace is not None
        if name == "get" or "{" in name or "}" in name:
            return self.trace.apply(how, function, (obj, name), steady=True)
        quick = "{0}[{1}] if type({0}) is dict and {1} in {0} else "
        return self.trace.apply(how, function, (obj, name), source=f"{quick}{how}({{0}}, {{1}})", steady=True)

    def operate(self, sign: str, *operands: Any) -> Any:
        """Apply an operator."""
        one = len(operands) == 1
        function = (_SIGNS if one else _OPERATIONS)[sign]
        trace = self.trace
        if trace is None or not trace.symbolic(operands):
            return function(*operands)
        return trace.apply(
            sign, function, operands, source=f"{sign}{{0}}" if one else f"{{0}} {sign} {{1}}", steady=True
        )

    def operand(self, value: Any) -> _Operand:
        """Return one side of a comparison."""
        return _Operand(self, value)

    def join(self, how: Callable[[Any], Any], *parts: Any) -> Any:
        """Apply `~`."""
        if self.trace is None or not self.trace.symbolic(parts):
            return how(parts)
        return self.trace.apply(how.__name__, how, (parts,), steady=True)

    def piece(self, output: Any) -> Any:
        """Return what a block puts out as it is, without escaping."""
        output = self.trace.lift(output) if self.trace else output
        if isinstance(output, Value):
            made = output.trace.apply("joined", lambda text: "".join((text,)), (output,), steady=True)
            return output.trace.token(made)
        return str(output) if isinstance(output, Symbolic) else output

    def kept(self, autoescape: Any, value: Any) -> Any:
        """Return what `{% set %}…{% endset %}` keeps."""
        value = self.trace.lift(value) if self.trace else value
        if not autoescape:
            return value
        if isinstance(value, Value):
            return value.trace.apply("Markup", Markup, (value,), steady=True)
        if isinstance(value, Symbolic):
            return value.trace.lift(Markup(str(value)))
        return Markup(value)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call something from a template."""
        self, context, called = __self, __context, __obj
        trace = self.trace
        if trace is None:
            return super().call(context, called, *args, **kwargs)
        data = {name: value for name, value in kwargs.items() if name not in ("_loop_vars", "_block_vars")}
        if _only_carries(called):
            return trace.lift(super().call(context, called, *args, **kwargs))
        escapes = bool(context.eval_ctx.autoescape)
        if not (isinstance(called, Symbolic) or trace.symbolic(args) | trace.symbolic(data)):
            return trace.lift(super().call(context, called, *args, **kwargs))
        if called is self.globals["gettext"] and self._is_plain(args):
            # Its own formatting, with stand-ins: the sentence stays text with slots in it.
            return trace.lift(self.plain.call(self._contexts[escapes], called, *args, **data))
        plain, place = self.plain, self._contexts[escapes]
        how = "call_html" if escapes else "call_text"
        if isinstance(called, Symbolic):
            return trace.apply(how, lambda f, /, *a, **k: plain.call(place, f, *a, **k), (called, *args), data)
        if id(called) in self._functions:
            name = f"{how}_{self._functions[id(called)]}"
            return trace.apply(name, lambda *a, **k: plain.call(place, called, *a, **k), args, data)
        method = getattr(called, "__wrapped__", called)
        if isinstance(method, BuiltinMethodType) and not trace.symbolic(owner := method.__self__):
            name = method.__name__
            return trace.apply(
                f"{how}_method_{name}",
                lambda o, /, *a, **k: plain.call(place, plain.getattr(o, name), *a, **k),
                (owner, *args),
                data,
            )
        raise Unsplittable(f"a call of {type(called).__name__} with the message's data")

    def _is_plain(self, arguments: tuple[Any, ...]) -> bool:
        """Whether a message to translate has `%(name)s` only, in the language of this rendering."""
        if len(arguments) != 1 or not isinstance(arguments[0], str):
            return False
        return _PLAIN_FORMAT.fullmatch(translated(arguments[0])) is not None


def _only_carries(called: Any) -> bool:
    """Whether a call hands its arguments on as they are: what is done with them is seen there."""
    if isinstance(called, MethodType):
        return isinstance(called.__self__, LoopContext) and called.__name__ == "cycle"
    return isinstance(called, Macro | BlockReference | LoopContext) or any(called is maker for maker in MAKERS)


def _with_first(function: Callable[..., Any], first: Any) -> Callable[..., Any]:
    return lambda *arguments, **named: function(first, *arguments, **named)


def _giving_once(function: Callable[..., Any]) -> Callable[..., Any]:
    def called(*arguments: Any, **named: Any) -> Any:
        made = function(*arguments, **named)
        return Once(made) if isinstance(made, Iterator) else made

    return called


def tracing_environment(sources: Mapping[str, str], plain: Sandbox, constants: Constants) -> TracingSandbox:
    """Build the environment that watches what templates do which `plain` renders."""
    made = sandbox(TracingSandbox, sources)
    made.watch(plain, constants)
    return made
