"""An extension of griffe, the parser of the API pages, for what it does not know of our docstrings.

The docstrings are in Google's style, with three habits of Sphinx and Keras besides:

* roles, such as ``:class:`zoo.models.LinfDistNet```, become links to the object on its page;
* one line may describe several arguments or errors, as in ``x, y: tensors``: each gets a line of
  its own;
* a section ``Call arguments`` of a class is about its method ``call``, and becomes the docstring of
  that method, because only there are the types and the defaults of these arguments.
"""

import re
from typing import Any

from griffe import Class, Docstring, Extension, GriffeLoader, Module, NameResolutionError, Object

_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`(~?)([^`]+)`")
_SECTION = re.compile(r"^([A-Z][a-z]+(?: [a-z]+)?):$")
_SEVERAL_NAMES = re.compile(r"^    ([\w.]+(?:, [\w.]+)+):")
_OF_A_CALL = ("Call arguments", "Returns")
_CALLS = ("call", "__call__", "update_state")


class Docstrings(Extension):
    """Rewrites the docstrings of a package, after it has been read and before they are parsed."""

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **kwargs: Any) -> None:
        _rewrite(pkg)


def _rewrite(parent: Module | Class) -> None:
    if isinstance(parent, Class):
        _give_to_call(parent)
    for described in (parent, *parent.members.values()):
        # The docstring of an imported name is rewritten where the name is defined, that of a module
        # or a class by the call for it.
        own = not described.is_alias and (described is parent or not _has_members(described))
        if own and described.docstring is not None:
            text = _with_links(described.docstring.value, described)
            described.docstring.value = _with_single_names(text)
    for member in parent.members.values():
        if not member.is_alias and _has_members(member):
            _rewrite(member)


def _has_members(described: Object) -> bool:
    return described.is_module or described.is_class


def _with_links(text: str, described: Object) -> str:
    """The text with a link in the place of each role."""

    def link(role: re.Match[str]) -> str:
        shortened, name = role.groups()
        shown = name.rpartition(".")[2] if shortened else name
        path = _path_of(name, described)
        if path is None:
            return f"`{shown}`"
        # The link is optional, because private objects and those of other libraries have no page.
        return f'<autoref optional identifier="{path}"><code>{shown}</code></autoref>'

    return _ROLE.sub(link, text)


def _path_of(name: str, described: Object) -> str | None:
    """The full name of what a docstring calls by this name; None for another library's object."""
    first, dot, rest = name.partition(".")
    if first == "zoo":
        path = name
    else:
        try:
            path = described.resolve(first) + dot + rest
        except NameResolutionError:
            return None
    if not path.startswith("zoo."):
        return None
    try:
        found = described.modules_collection[path]
    except KeyError:
        return path
    # A package that imports a function from a module of the same name means the function.
    own = path.rpartition(".")[2]
    return f"{path}.{own}" if found.is_module and own in found.members else path


def _with_single_names(text: str) -> str:
    """The text with a line for each argument or error of the lines that describe several."""
    lines: list[str] = []
    for name, section in _sections(text):
        if name in ("Args", "Attributes", "Raises"):
            section = [line for item in _items(section) for line in _single(item)]
        lines += section
    return "\n".join(lines)


def _sections(text: str) -> list[tuple[str, list[str]]]:
    """The sections of a docstring: their names, and their lines with the title; the first has none.

    A section ends where a line is not indented, as in the parser.
    """
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in text.split("\n"):
        title = _SECTION.match(line)
        if title is not None:
            found.append((title[1], [line]))
        elif found[-1][0] and line and not line.startswith(" "):
            found.append(("", [line]))
        else:
            found[-1][1].append(line)
    return found


def _items(section: list[str]) -> list[list[str]]:
    """The lines of each item of a section; the title is an item too."""
    items: list[list[str]] = []
    for line in section:
        if items and (not line.strip() or line.startswith(" " * 5)):
            items[-1].append(line)
        else:
            items.append([line])
    return items


def _single(item: list[str]) -> list[str]:
    several = _SEVERAL_NAMES.match(item[0])
    if several is None:
        return item
    described, blank = item, []
    while not described[-1].strip():
        described, blank = described[:-1], [*blank, ""]
    first = described[0][several.end() :]
    alike = [[f"    {name}:{first}", *described[1:]] for name in several[1].split(", ")]
    return [*(line for lines in alike for line in lines), *blank]


def _give_to_call(of: Class) -> None:
    """Make the sections about a call of the class' objects the docstring of the method."""
    call = next((of.members[name] for name in _CALLS if name in of.members), None)
    sections = [] if of.docstring is None else _sections(of.docstring.value)
    if of.docstring is None or call is None or "Call arguments" not in dict(sections):
        return
    moved = [lines for name, lines in sections if name in _OF_A_CALL]
    kept = [lines for name, lines in sections if name not in _OF_A_CALL]
    of.docstring.value = "\n".join(line for lines in kept for line in lines)
    summary = "Compute what a call returns." if call.docstring is None else call.docstring.value
    text = "\n".join([summary, "", *(line for lines in moved for line in lines)])
    call.docstring = Docstring(
        text.replace("Call arguments:", "Args:"),
        parent=call,
        parser=of.docstring.parser,
        parser_options=of.docstring.parser_options,
    )
