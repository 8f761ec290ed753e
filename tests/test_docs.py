"""Every example in a docstring or on a page runs."""

import doctest
import importlib
import pathlib
import pkgutil

import numpy as np
import pytest

import zoo

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


@pytest.fixture
def own_images(tmp_path, monkeypatch):
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
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages(page, request):
    if page.name == "own_images.md":
        request.getfixturevalue("own_images")
    result = doctest.testfile(str(page), module_relative=False, verbose=False)
    assert result.failed == 0
    assert result.attempted > 0 or ">>>" not in page.read_text(encoding="utf-8")


def test_there_are_examples():
    found = doctest.DocTestFinder()
    examples = [
        test.name
        for name in MODULES
        for test in found.find(importlib.import_module(name))
        if test.examples
    ]
    assert len(examples) > 10
