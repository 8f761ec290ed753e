"""The site's API pages show examples as code, and the types and defaults of all arguments."""

import functools
import html.parser
import importlib
import inspect
import pathlib
import pkgutil
import re

import pytest

import zoo

pytestmark = pytest.mark.integration

ROOT = pathlib.Path(zoo.__file__).parent.parent
MODULES = {"zoo", *(module.name for module in pkgutil.walk_packages(zoo.__path__, "zoo."))}
#: The columns of a table of arguments.
COLUMNS = ["Name", "Type", "Description", "Default"]


class Page(html.parser.HTMLParser):
    """The prose of a page, which is its text outside of code, its tables and its code blocks."""

    def __init__(self, text):
        super().__init__()
        self.prose, self.blocks, self.tables = "", [], []
        self.ids, self.links, self.quotes = set(), set(), 0
        self._open, self._described, self._in_cell = [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if given.get("id", "").startswith("zoo."):
            self._described = given["id"]
            self.ids.add(given["id"])
        if tag == "blockquote":
            self.quotes += 1
        if tag == "a":
            self.links.add(given.get("href"))
        if tag in ("code", "pre", "script", "style"):
            self._open.append(tag)
        if tag == "pre":
            self.blocks.append("")
        elif tag == "table":
            self.tables.append((self._described, []))
        elif tag == "tr":
            self.tables[-1][1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][1][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        if self._open and self._open[-1] == tag:
            self._open.pop()
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data):
        if "pre" in self._open:
            self.blocks[-1] += data
        elif not self._open:
            self.prose += data
        if self._in_cell:
            self.tables[-1][1][-1][-1] += data


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, from a build in which every warning is an error."""
    pytest.importorskip("mkdocs", reason="the tools of the documentation are not installed")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder


@pytest.fixture(scope="module")
def pages(site):
    """The API pages by name."""
    found = {path.parent.name: path for path in (site / "api").rglob("index.html")}
    return {name: Page(path.read_text(encoding="utf-8")) for name, path in found.items()}


def arguments(page):
    """``(object, name, type, default)`` of the rows of all tables of arguments on a page."""
    return [
        (described, *(row[index].strip() for index in (0, 1, 3)))
        for described, table in page.tables
        if table[0] == COLUMNS
        for row in table[1:]
    ]


def is_optional(path, argument):
    """Whether Python itself has a default for an argument of a function or a class."""
    # The longest beginning that is a module: a package's function may hide a module of its name.
    module, rest = path, []
    while module not in MODULES:
        module, _, part = module.rpartition(".")
        rest = [part, *rest]
    found = functools.reduce(getattr, rest, importlib.import_module(module))
    function = found.__init__ if inspect.isclass(found) else found
    parameter = inspect.signature(function).parameters[argument]
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.kind in several or parameter.default is not inspect.Parameter.empty


def test_examples_are_code(pages):
    for name, page in pages.items():
        # Markdown takes ``>>>`` in prose for nested quotes.
        assert ">>>" not in page.prose, name
        assert not page.quotes, name
    assert any("zoo.layers.LinfDistance(3)" in block for block in pages["layers"].blocks)


def test_no_markup_of_docstrings_is_shown(pages):
    for name, page in pages.items():
        assert re.findall(r":[a-z]+:|``|<autoref", page.prose) == [], name


def test_every_row_of_a_table_is_complete(pages):
    for name, page in pages.items():
        rows = [row for _, table in page.tables for row in table]
        assert [row for row in rows if not all(cell.strip() for cell in row)] == [], name
        # One line of a docstring may describe several arguments or errors, each of which has a row.
        assert [row for row in rows if "," in re.sub(r"\[.*\]", "", row[0])] == [], name


def test_what_has_a_default_is_not_called_required(pages):
    found = [row for page in pages.values() for row in arguments(page)]
    assert len(found) > 100
    for described, argument, _, default in found:
        assert (default != "required") == is_optional(described, argument), (described, argument)


def test_arguments_of_calls_have_types_and_defaults(pages):
    row = ("zoo.layers.LinfDistance.call", "training", "bool", "False")
    assert row in arguments(pages["layers"])


def test_names_in_docstrings_link_to_their_place(pages):
    assert "../certificates/#zoo.certificates.Certificate" in pages["models"].links


@pytest.mark.parametrize(
    "package", ["attacks", "bounds", "certificates", "data", "layers", "losses", "models", "ops"]
)
def test_every_public_name_has_its_place(pages, package):
    module = importlib.import_module(f"zoo.{package}")
    public = {name: getattr(module, name) for name in module.__all__}
    page = pages["operations" if package == "ops" else package]
    for name, found in public.items():
        # The page about attacks has a table of the registered ones.
        if callable(found) and found not in zoo.attacks.ATTACKS.values():
            places = {f"zoo.{package}.{name}", f"{found.__module__}.{name}"}
            assert places & page.ids, name


def test_formulas_are_drawn_without_a_script(site):
    """Browsers draw MathML themselves; nothing is left of the formulas' source."""
    formulas = 0
    for path in sorted(site.glob("*/index.html")):
        text = path.read_text(encoding="utf-8")
        prose = Page(text).prose
        assert "$" not in prose, path.parent.name
        assert not re.search(r"\\[a-zA-Z(\[]", prose), path.parent.name
        assert "mathjax" not in text.lower(), path.parent.name
        formulas += text.count("<math")
        # A line could begin with the punctuation behind a formula if both were not in one span.
        assert not re.search(r"</math>(</span>)?[.,;:)]+(?!</span>|[.,;:)])", text), (
            path.parent.name
        )
    assert formulas > 50
