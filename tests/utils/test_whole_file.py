"""Text is UTF-8 on every system, and a file is written as a whole or not at all."""

import ast
import io
import os
import pathlib
import subprocess
import sys
import threading

import pytest

import zoo
from zoo.evaluation.plots import draw
from zoo.utils.whole_file import require_writable, write_whole

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


def test_the_users_folder_and_a_name_that_is_not_utf8(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    name = os.fsdecode(b"bild_\xfc.png")
    require_writable("~/table.csv")
    write_whole("~/table.csv", name)
    monkeypatch.chdir(tmp_path)
    write_whole("~backup.csv", "there is no user of this name")
    assert (tmp_path / "~backup.csv").is_file()
    assert (tmp_path / "table.csv").read_bytes() == b"bild_\xfc.png"


def test_what_a_link_leads_to_is_replaced(tmp_path):
    (tmp_path / "file").write_text("old", encoding="utf-8")
    (tmp_path / "link").symlink_to("file")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text(encoding="utf-8") == "new"
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]


def test_a_link_is_followed_before_the_work_too(tmp_path):
    (tmp_path / "link").symlink_to("missing/file")
    with pytest.raises(OSError, match="there is no folder .*missing"):
        require_writable(tmp_path / "link")
    require_writable(tmp_path / "link", makes_folders=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    found = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_whole(tmp_path / "pipe", "text")
    reader.join(10)
    assert found == [b"text"]
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="there is no such path here")
def test_standard_output_is_written_to_if_it_is_a_pipe():
    program = (
        "from zoo.utils.whole_file import require_writable, write_whole; "
        "require_writable('/dev/stdout'); write_whole('/dev/stdout', 'text')"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (found.stdout, found.stderr) == ("text", "")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        (
            "certificate.npz",
            lambda path: zoo.load("lc-lmt-digits").logit_certificate().save(path),
        ),
        ("images.npz", lambda path: zoo.data.save(path, "digits")),
        ("plot.png", lambda path: draw(path, lambda ax: ax.plot([0, 1]))),
    ],
)
def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path, monkeypatch, name, write):
    path = tmp_path / name
    path.write_bytes(b"old")

    class OnFullDisk(io.FileIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoo.utils.whole_file.open", OnFullDisk, raising=False)
    with pytest.raises(OSError, match="No space left"):
        write(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [name]
