"""The Jinja environment that message templates run in: sandboxed, strict, without files."""

import traceback
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

from jinja2 import FunctionLoader, StrictUndefined, Template, TemplateError, TemplateSyntaxError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from evergreet import localization

AnySandbox = TypeVar("AnySandbox", bound="Sandbox")
Finalize: TypeAlias = Callable[[Any], str]


class Missing(StrictUndefined):
    """A value that is not there; using it says what to write."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        if self._undefined_obj is missing:
            return f"{self._undefined_name!r} is not defined"
        return (
            f"there is no {self._undefined_name!r} here for this contact; "
            "ask `… is defined` first, or add `|default(…)`"
        )


class File(Template):
    """A template; as a file of macros it is run anew for each import.

    Jinja runs it once and keeps what it sets: a contact would read what was set for another, in their language too.
    """

    def _get_default_module(self, ctx: Context | None = None) -> Any:
        own = {} if ctx is None else {name: ctx.parent[name] for name in ctx.globals_keys - self.globals.keys()}
        return self.make_module(own)


class Sandbox(ImmutableSandboxedEnvironment):
    """Contacts, events and options are data: `event.items` is the property of that name, not a method."""

    template_class = File

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look up `obj.attribute`."""
        if (type(obj) is dict or isinstance(obj, Mapping)) and attribute != "get":
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Look up `obj[argument]`."""
        if type(obj) is dict or isinstance(obj, Mapping):
            return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
        return super().getitem(obj, argument)


def environment(
    sources: Mapping[str, str], *, autoescape: bool | None = None, finalize: Finalize | None = None, **constants: str
) -> Sandbox:
    """Build an environment over these sources; `constants` are known everywhere, in macros as well.

    `autoescape` is said for all files, else those of HTML are escaped; `finalize` makes what is written of any value.
    """
    made = sandbox(Sandbox, sources)
    made.globals.update(constants)
    if autoescape is not None:
        made.autoescape = autoescape
    made.finalize = finalize
    return made


def sandbox(kind: type[AnySandbox], sources: Mapping[str, str]) -> AnySandbox:
    """Build a sandbox of this kind over these sources."""
    made = kind(
        loader=FunctionLoader(lambda name: (sources[name], name, lambda: True) if name in sources else None),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=Missing,
        extensions=["jinja2.ext.i18n", "jinja2.ext.loopcontrols"],
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    localization.install(made)
    # The same data gives the same bytes, always.
    del made.filters["random"], made.globals["lipsum"]
    return made


def place_of_error(error: Exception, sources: Mapping[str, str]) -> tuple[str, int] | None:
    """Return the template and the line where an error arose: the innermost one that is a template."""
    if isinstance(error, TemplateSyntaxError):
        return error.name or error.filename or "?", error.lineno
    frames = [frame for frame in traceback.extract_tb(error.__traceback__, limit=None) if frame.filename in sources]
    return (frames[-1].filename, frames[-1].lineno or 0) if frames else None


def sentence(error: Exception) -> str:
    """Say in one line what went wrong."""
    if isinstance(error, RecursionError):
        return "this calls itself without end"
    what = (error.message if isinstance(error, TemplateError) else str(error)) or type(error).__name__
    return " ".join(what.split())[:300]
