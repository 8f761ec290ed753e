"""Text is UTF-8 on every system, whatever the system's own encoding is."""

import ast
import pathlib

import pytest

import zoo

ROOT = pathlib.Path(zoo.__file__).parent.parent
SOURCES = sorted(
    path for folder in ("zoo", "training", "examples") for path in (ROOT / folder).rglob("*.py")
)


def without_encoding(source):
    """Lines that read or write text in the encoding of the system."""
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        name = getattr(call.func, "id", getattr(call.func, "attr", None))
        binary = any(isinstance(a, ast.Constant) and "b" in str(a.value) for a in call.args[1:2])
        opens = isinstance(call.func, ast.Name) and name == "open" and not binary
        keywords = {keyword.arg for keyword in call.keywords}
        is_text = name in ("read_text", "write_text") or opens or "text" in keywords
        if is_text and "encoding" not in keywords:
            yield call.lineno


def test_the_search_finds_what_it_is_for():
    source = """
open(path)
path.read_text()
path.write_text("text")
subprocess.run(command, text=True)
open(path, "rb")
open(path, encoding="utf-8")
path.read_text(encoding="utf-8")
"""
    assert list(without_encoding(source)) == [2, 3, 4, 5]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_file_names_its_encoding(path):
    assert list(without_encoding(path.read_text(encoding="utf-8"))) == []
