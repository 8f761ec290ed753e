"""Commands are found by their files."""

import json
import pathlib
import re
import sys

import pytest

import zoo.cli
from zoo.cli import commands, main

HELLO = """
SUMMARY = "Greet somebody."


def add_arguments(parser):
    parser.add_argument("name")
    parser.add_argument("--loud", action="store_true")


def run(options):
    text = f"hello {options.name}"
    return {"text": text}, text.upper() if options.loud else text
"""


@pytest.fixture
def new_file(tmp_path, monkeypatch):
    """A command in a file of its own; nothing else knows of it."""
    (tmp_path / "say_hello_.py").write_text(HELLO)
    (tmp_path / "_helper.py").write_text("raise AssertionError('this is no command')")
    monkeypatch.setattr(zoo.cli, "__path__", [*zoo.cli.__path__, str(tmp_path)])
    yield
    sys.modules.pop("zoo.cli.say_hello_", None)


def test_a_new_file_is_a_new_command(new_file, capsys):
    assert main(["say-hello", "Ann", "--loud"]) == 0
    assert capsys.readouterr().out == "HELLO ANN\n"
    assert main(["say-hello", "Ann", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"text": "hello Ann"}
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "Greet somebody." in capsys.readouterr().out


def test_the_order_of_the_help(new_file):
    first = ["list", "info", "evaluate", "certify", "attack", "compare"]
    others = ["card", "cite", "download", "leaderboard", "publish", "say-hello", "verify"]
    assert list(commands()) == first + others


def test_the_page_lists_every_command():
    page = pathlib.Path(zoo.__file__).parent.parent / "docs" / "command_line.md"
    listed = re.findall(r"^\| `zoo ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(commands())


def test_every_command_says_what_it_does(capsys):
    for name, command in commands().items():
        with pytest.raises(SystemExit) as caught:
            main([name, "--help"])
        assert caught.value.code == 0
        assert command.SUMMARY.endswith(".")
        assert command.SUMMARY in " ".join(capsys.readouterr().out.split())
