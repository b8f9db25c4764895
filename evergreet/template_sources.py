"""Reading a message template from its folder, with all it uses, and checking it before anyone gets it."""

import difflib
import hashlib
import importlib.util
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from jinja2 import Environment, TemplateSyntaxError, meta, nodes

from evergreet.campaign import Purpose
from evergreet.catalogues import catalogue_files, translations
from evergreet.channels import Channel, writes_to_contacts
from evergreet.errors import ConfigurationError, DefinitionError
from evergreet.sandbox import environment

MESSAGE_NAMES = frozenset(
    {
        "contact",
        "event",
        "occurred_at",
        "options",
        "locale",
        "timezone",
        "purpose",
        "campaign",
        "step",
        "topic",
    }
    | {"unsubscribe_url", "preferences_url", "language", "direction", "picked", "nth"}
)
"""What a template knows about one message (`evergreet.rendering.MessageContext`, and the language chosen)."""

COMPANY_NAMES = frozenset({"company", "postal_address", "site_url"})
"""What a template and its macros know about the company (`evergreet.rendering.Surroundings`)."""

SMS = "sms.txt"
"""The one file of an SMS."""

FILES: Mapping[Channel, tuple[str, ...]] = {
    "email": ("subject.txt", "body.html"),
    "sms": (SMS,),
    "webhook": ("body.json",),
    "slack": ("slack.txt",),
    "crm": ("title.txt", "text.txt"),
}
"""The files that a folder has to have to be a message of a channel; an email may have a `body.txt` as well."""

INTERNAL_NAMES = frozenset({"key", "occurrence", "source", "source_id"})
"""What a template knows besides where it does not go to the contact (`evergreet.internal_rendering.Record`)."""

OPT_OUT = "_base/opt_out.txt"
"""What the first marketing SMS that somebody gets ends in: a file of the root itself, or ours."""

_PARTS = tuple(file for files in FILES.values() for file in files)
"""Files by which a folder is a message."""

OF_EVERY_MESSAGE = "_base/"
"""How the names of those begin that are found in our own root too."""

OWN_PACKAGE = "templates"
"""Evergreet's own templates; their `_base` serves roots that have none of their own."""


@dataclass(frozen=True, slots=True)
class TemplateSource:
    """The sources of one message by file name, and the hash of them all; JSON-able, stored with each version.

    `preview.json` is not among them: a new sample is not a new version. Translations are, as far as the
    message uses them (`locales/<language>.po`).
    """

    name: str
    hash: str
    sources: dict[str, str]

    @property
    def channel(self) -> Channel:
        """What kind of message it is."""
        return channel_of({file for file in _PARTS if f"{self.name}/{file}" in self.sources})


def channel_of(parts: Collection[str]) -> Channel:
    """Return what kind of message a folder with these files is."""
    return next((channel for channel, files in FILES.items() if not set(files).isdisjoint(parts)), "email")


def template_root(root: str) -> Path:
    """Return the folder of a template root: an importable package, or a path to a folder."""
    if all(part.isidentifier() for part in root.split(".")):
        try:
            package = importlib.util.find_spec(root)
        except ModuleNotFoundError:
            package = None
        if package is not None and package.submodule_search_locations:
            return Path(next(iter(package.submodule_search_locations)))
    if Path(root).is_dir():
        return Path(root).resolve()
    raise ConfigurationError(
        f"EVERGREET_TEMPLATES={root}: there is no such package and no such folder. Name the package or the "
        "folder that holds your message templates."
    )


def template_names(root: str) -> list[str]:
    """Return the names of the messages below a root: folders with any file that makes one (`FILES`)."""
    folder = template_root(root)
    found = {path.parent.relative_to(folder) for file in _PARTS for path in folder.rglob(file)}
    return sorted(str(path.as_posix()) for path in found if not path.parts[0].startswith("_"))


def sample_file(root: str, name: str) -> Path:
    """Return where a message's sample is, or where it would have to be."""
    folders = _search_path(template_root(root))
    if name.startswith(OF_EVERY_MESSAGE):
        folders = [folder for folder in folders if _parts([folder], name)] or folders
    return folders[0] / name / "preview.json"


def check_exists(root: str, name: str) -> None:
    """Answer a wrong name with the names there are."""
    known = template_names(root)
    if name not in known and not (
        name.startswith(OF_EVERY_MESSAGE) and _parts(_search_path(template_root(root)), name)
    ):
        near = difflib.get_close_matches(name, known, n=1)
        raise DefinitionError(
            f"There is no template {name!r} in {template_root(root)}."
            f"{f' Did you mean {near[0]!r}?' if near else ''} There are: {', '.join(known) or 'none'}."
        )


def load_template(root: str, name: str, *, purpose: Purpose | None = None) -> TemplateSource:
    """Read and check a message template.

    `root` is a package or a folder (`settings().templates`), `name` a folder in it such as
    "thank_you/receipt". A marketing email (`purpose`) must show the unsubscribe link and the postal
    address. Raises DefinitionError with the file, the line and what to write. What was read before and stands there
    unchanged is not checked again: to parse a message costs fifty times as much as to read it.
    """
    folder = template_root(root)
    key = (folder, name, purpose)
    read = _READ.get(key)
    if read is None or not read.is_up_to_date():
        read = _READ[key] = _load(root, folder, name, purpose)
    return read.source


def _load(root: str, folder: Path, name: str, purpose: Purpose | None) -> "_Read":
    check_exists(root, name)
    searched = _search_path(folder)
    parts = _parts(searched, name)
    channel = channel_of(parts)
    checked = _Checked(searched, MESSAGE_NAMES if writes_to_contacts(channel) else MESSAGE_NAMES | INTERNAL_NAMES)
    optional = {"body.txt"} if channel == "email" else set()
    if odd := parts - {*FILES[channel], *optional}:
        raise DefinitionError(
            f"Template {name!r} has {FILES[channel][0]} and {min(odd)}: these are two messages; give each a folder of "
            "its own."
        )
    for file in FILES[channel]:
        if file not in parts:
            raise DefinitionError(f"Template {name!r} has no {file}: create {folder / name / file}.")
    for file in (*FILES[channel], *sorted(optional & parts)):
        checked.add(f"{name}/{file}")
    if channel == "sms":
        checked.add(OPT_OUT)
    checked.check_names()
    if purpose is Purpose.MARKETING and channel == "email":
        checked.check_marketing(f"{name}/body.html")
    catalogues = {path: path.read_bytes() for path in catalogue_files(folder)}
    sources = dict(sorted((checked.sources | translations(checked.trees.values(), folder)).items()))
    content = hashlib.sha256(orjson.dumps(sources, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return _Read(TemplateSource(name, content, sources), checked, catalogues)


class _Read:
    """A message as it was read and found good, with the files it was read from."""

    def __init__(self, source: TemplateSource, checked: "_Checked", catalogues: dict[Path, bytes]) -> None:
        self.source = source
        self.checked = checked
        self.catalogues = catalogues

    def is_up_to_date(self) -> bool:
        """Whether reading it anew would find the same files with the same content."""
        checked, folder = self.checked, self.checked.folders[0]
        parts = _parts(checked.folders, self.source.name)
        if any((f"{self.source.name}/{file}" in checked.sources) != (file in parts) for file in ("body.txt", *_PARTS)):
            return False
        try:
            return all(
                checked.find(name) == checked.paths[name] and checked.paths[name].read_text("utf-8") == content
                for name, content in checked.sources.items()
            ) and self.catalogues == {path: path.read_bytes() for path in catalogue_files(folder)}
        except (DefinitionError, OSError, UnicodeDecodeError):
            return False  # what is wrong now is told by reading it


_READ: dict[tuple[Path, str, Purpose | None], _Read] = {}
"""What this process has read: one entry for each message and purpose."""


def _parts(folders: Sequence[Path], name: str) -> set[str]:
    """Return the files of a message: those in the root itself and, of what any message may use, else those in ours."""
    for folder in folders if name.startswith(OF_EVERY_MESSAGE) else folders[:1]:
        if parts := {file for file in ("body.txt", *_PARTS) if (folder / name / file).is_file()}:
            return parts
    return set()


def _search_path(folder: Path) -> list[Path]:
    return [folder] if (own := template_root(OWN_PACKAGE)) == folder else [folder, own]


class _Checked:
    """The files of one message, parsed, as they are found."""

    def __init__(self, folders: list[Path], names: frozenset[str]) -> None:
        self.folders = folders
        self.names = names
        self.sources: dict[str, str] = {}
        self.paths: dict[str, Path] = {}
        self.trees: dict[str, nodes.Template] = {}
        self.macro_files: set[str] = set()
        self.environment: Environment = environment(self.sources)
        self._reading: list[str] = []

    def add(self, name: str) -> None:
        """Read a file and, after it, all it refers to."""
        if name in self.sources:
            return
        path = self.find(name)
        self.paths[name] = path
        try:
            self.sources[name] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise DefinitionError(f"{path}: this file is not UTF-8; save it as UTF-8.") from None
        try:
            tree = self.environment.parse(self.sources[name], name, name)
            self.environment.compile(self.sources[name], name, name)  # finds unknown filters too
        except TemplateSyntaxError as error:
            raise DefinitionError(f"{path}, line {error.lineno}: {(error.message or '').rstrip('.')}.") from None
        self.trees[name] = tree
        self._reading.append(name)
        for reference in tree.find_all((nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)):
            self._follow(name, reference)
        self._reading.pop()

    def check_names(self) -> None:
        """Refuse a variable that no message has."""
        shared = {made for name, tree in self.trees.items() if name not in self.macro_files for made in _made(tree)}
        for name, tree in self.trees.items():
            is_macros = name in self.macro_files
            known = COMPANY_NAMES | (_made(tree) if is_macros else shared | self.names)
            for unknown in sorted(meta.find_undeclared_variables(tree) - known):
                raise DefinitionError(
                    f"{self.paths[name]}, line {_line_of(tree, unknown)}: {_advice(unknown, is_macros, self.names)}"
                )
            if is_macros:
                self._check_top_level(name, tree)

    def check_marketing(self, body: str) -> None:
        """Refuse a marketing message without unsubscribe link or postal address."""
        used = {
            variable for file in self._reachable(body) for variable in meta.find_undeclared_variables(self.trees[file])
        }
        for variable, what in (("unsubscribe_url", "unsubscribe link"), ("postal_address", "postal address")):
            if variable not in used:
                raise DefinitionError(
                    f"{self.paths[body]}: a marketing message must show the {what}. Extend "
                    f"_base/layout.html, whose footer has it, or print {{{{ {variable} }}}} yourself."
                )

    def find(self, name: str) -> Path:
        """Return where a file is: in the root itself, or in ours."""
        for folder in self.folders:
            path = (folder / name).resolve()
            if path.is_file() and path.is_relative_to(folder.resolve()):
                return path
        raise DefinitionError(f"There is no file {name} in {' or '.join(str(folder) for folder in self.folders)}.")

    def _follow(self, name: str, reference: nodes.Node) -> None:
        target = getattr(reference, "template", None)
        if not (isinstance(target, nodes.Const) and isinstance(target.value, str)):
            raise DefinitionError(
                f"{self.paths[name]}, line {reference.lineno}: write the file it uses as a plain text, such "
                'as "_base/layout.html", so that the version can keep a copy of it.'
            )
        if target.value in self._reading:
            way = " → ".join((*self._reading[self._reading.index(target.value) :], target.value))
            raise DefinitionError(f"{self.paths[name]}, line {reference.lineno}: this uses itself without end: {way}.")
        try:
            self.add(target.value)
        except DefinitionError as error:
            if target.value in self.paths:
                raise
            raise DefinitionError(f"{self.paths[name]}, line {reference.lineno}: {error}") from None
        if name.endswith(".html") and not target.value.endswith(".html"):
            raise DefinitionError(
                f"{self.paths[name]}, line {reference.lineno}: {target.value} is not an .html file, so nothing in "
                "it is escaped; use its .html counterpart."
            )
        if isinstance(reference, (nodes.Import, nodes.FromImport)) and not reference.with_context:
            self.macro_files.add(target.value)

    def _reachable(self, name: str) -> Iterator[str]:
        waiting, seen = [name], {name}
        while waiting:
            yield (current := waiting.pop())
            new = {found for found in meta.find_referenced_templates(self.trees[current]) if found} - seen
            waiting += sorted(new)
            seen |= new

    def _check_top_level(self, name: str, tree: nodes.Template) -> None:
        """Refuse what an imported file works out for itself: it runs once, for the first contact."""
        for node in tree.body:
            calls = isinstance(node, nodes.Assign) and next(node.find_all((nodes.Call, nodes.Filter)), None)
            if calls:
                raise DefinitionError(
                    f"{self.paths[name]}, line {node.lineno}: this is worked out once and kept for all "
                    "contacts. Move it into a macro."
                )


def _made(tree: nodes.Template) -> set[str]:
    """Return the names a file makes at its top level: its blocks, and the files it extends, see them."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (nodes.Assign, nodes.AssignBlock)):
            names |= {
                found.name
                for found in [node.target, *node.target.find_all(nodes.Name)]
                if isinstance(found, nodes.Name)
            }
        elif isinstance(node, nodes.Import):
            names.add(node.target)
        elif isinstance(node, nodes.FromImport):
            names |= {name if isinstance(name, str) else name[1] for name in node.names}
        elif isinstance(node, nodes.Macro):
            names.add(node.name)
    return names


def _line_of(tree: nodes.Template, variable: str) -> int:
    return next((node.lineno for node in tree.find_all(nodes.Name) if node.name == variable), 1)


def _advice(unknown: str, is_macros: bool, names: frozenset[str]) -> str:
    if is_macros and unknown in names:
        return f"a macro does not see {unknown!r}: make it a parameter and pass it where the macro is called."
    near = difflib.get_close_matches(unknown, names | COMPANY_NAMES, n=1)
    return (
        f"there is no variable {unknown!r}.{f' Did you mean {near[0]!r}?' if near else ''} "
        f"A template knows: {', '.join(sorted(names | COMPANY_NAMES))}."
    )
