"""Every example in a docstring or on a page runs, and so does every command of a console block."""

import contextlib
import doctest
import importlib
import io
import pathlib
import pkgutil
import re
import shlex

import numpy as np
import pytest

import zoo
from tests import datasets
from zoo.cli import main

pytestmark = pytest.mark.integration

ROOT = pathlib.Path(zoo.__file__).parent.parent
MODULES = sorted(m.name for m in pkgutil.walk_packages(zoo.__path__, "zoo."))
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.fixture(autouse=True)
def _registry():
    """An attack that an example registers is forgotten after it."""
    before = dict(zoo.attacks.ATTACKS)
    yield
    zoo.attacks.ATTACKS.clear()
    zoo.attacks.ATTACKS.update(before)


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    result = doctest.testmod(importlib.import_module(name), verbose=False)
    assert result.failed == 0


def command(line):
    """Run a ``zoo`` command of a page, and print what a terminal would show."""
    name, *arguments = shlex.split(line)
    assert name == "zoo"
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        code = main([*arguments, "--quiet"])
    if code:
        print(errors.getvalue(), end="")


def examples_of(page):
    """The Python examples and the commands of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    parser, found = doctest.DocTestParser(), []
    start = 0
    for block in re.finditer(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        found += parser.get_examples(text[start : block.start()])
        for part in re.split(r"^\$ ", block[1], flags=re.MULTILINE)[1:]:
            line, _, shown = part.partition("\n")
            shown = re.sub(r"^$", "<BLANKLINE>", shown.rstrip("\n"), flags=re.MULTILINE) + "\n"
            options = {doctest.ELLIPSIS: True, doctest.NORMALIZE_WHITESPACE: True}
            found.append(doctest.Example(f"command({line!r})\n", shown, options=options))
        start = block.end()
    return [*found, *parser.get_examples(text[start:])]


class CloseNumbers(doctest.OutputChecker):
    """Takes output for right whose numbers are close to those of the page.

    Training, and attacks, round differently on other machines.
    """

    _NUMBER = re.compile(r"\d+\.\d+%?|\d+%")

    def check_output(self, want, got, optionflags):
        if super().check_output(want, got, optionflags):
            return True
        wanted, found = self._NUMBER.findall(want), self._NUMBER.findall(got)
        same_text = super().check_output(
            self._NUMBER.sub("1", want),
            self._NUMBER.sub("1", got),
            optionflags | doctest.NORMALIZE_WHITESPACE,
        )
        return same_text and len(wanted) == len(found) and all(map(self._close, wanted, found))

    @staticmethod
    def _close(want, got):
        if want.endswith("%") != got.endswith("%"):
            return False
        if want.endswith("%"):
            return abs(float(want[:-1]) - float(got[:-1])) <= 3
        return abs(float(want) - float(got)) <= 0.05 * abs(float(want))


@pytest.mark.parametrize(
    ("want", "got", "right"),
    [
        ("certified 80.2%", "certified  80.0%", True),
        ("certified 80.2%", "certified 75.0%", False),
        ("certified 80.2%", "clean 80.2%", False),
        ("radius 1.04", "radius 1.05", True),
        ("radius 1.04", "radius 1.10", False),
        ("n = 100", "n = 101", False),
        ("1.5 2.5", "1.5", False),
        ("50.0%", "50.0", False),
    ],
)
def test_close_numbers(want, got, right):
    assert CloseNumbers().check_output(want + "\n", got + "\n", 0) == right


@pytest.fixture
def own_images(tmp_path):
    """The folder of pictures that the page about one's own images is about."""
    from PIL import Image

    random = np.random.default_rng(0)
    for part, count in (("train", 24), ("test", 8)):
        for kind, bright in (("cats", slice(0, 10)), ("dogs", slice(10, 20))):
            folder = tmp_path / "images" / part / kind
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 100, (24, 20, 3))
                pixels[:, bright] += 140
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index:03d}.png")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages(page, request, tmp_path, monkeypatch):
    text, examples = page.read_text(encoding="utf-8"), examples_of(page)
    monkeypatch.chdir(tmp_path)  # pages may write files
    if "images/train" in text:
        request.getfixturevalue("own_images")
    for module in ("onnxruntime", "tf2onnx") if "import onnxruntime" in text else ():
        pytest.importorskip(module)
    for name in set(re.findall(r'^>>> .*zoo.data.load\("([\w-]+)"', text, re.MULTILINE)):
        datasets.load(name)  # or a skip
    test = doctest.DocTest(examples, {"command": command}, page.name, str(page), 0, "")
    result = doctest.DocTestRunner(CloseNumbers(), verbose=False).run(test)
    assert result.failed == 0
    assert result.attempted > 0 or not (">>>" in text or "```console" in text)


def test_there_are_examples():
    found = doctest.DocTestFinder()
    examples = [
        test.name
        for name in MODULES
        for test in found.find(importlib.import_module(name))
        if test.examples
    ]
    assert len(examples) > 10
