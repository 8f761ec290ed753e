"""The ``zoo`` command.

Each module of this package whose name does not begin with an underscore is one command: ``info.py``
is ``zoo info``. A trailing underscore, as in ``list_.py``, keeps a name apart from Python's own and
is not part of the command. Such a module has

* ``SUMMARY``: one sentence for ``zoo --help``;
* ``add_arguments(parser)``: adds the command's options to an :class:`argparse.ArgumentParser`;
* ``run(options)``: does the work and returns a pair: the result in JSON's types, and as text.

A module imports what takes long to load, such as Keras, inside ``run``: every call of ``zoo``
imports the modules of all commands.
"""

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import Any, Protocol, cast

from zoo.cli._unfinished import Unfinished
from zoo.errors import ZooError
from zoo.utils.json_text import json_text
from zoo.utils.terminal import print_any_character

# What a newcomer needs first comes first in the help; all other commands follow by name.
_FIRST = ("list", "info", "evaluate", "certify", "attack")


class Command(Protocol):
    """What a command's module has."""

    SUMMARY: str

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None: ...

    def run(self, options: argparse.Namespace, /) -> tuple[Any, str]: ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: words of the command line; by default those that the program was called with.

    Returns:
        The exit code: 0 if all went well, 1 after an error, 130 after an interruption.
    """
    # The backends' own start-up messages would drown a one-line answer.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    print_any_character()
    options = _parser().parse_args(arguments)
    try:
        try:
            _print(options, *options.run(options))
        except Unfinished as unfinished:
            _print(options, unfinished.result, unfinished.text)
            raise unfinished.failure from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ZooError, ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def commands() -> dict[str, Command]:
    """The commands by name, in the order of the help.

    Returns:
        Dictionary from a name, such as ``"list"``, to the module of the command.

    Example:

    >>> from zoo.cli import commands
    >>> list(commands())[:3]
    ['list', 'info', 'evaluate']
    """
    found = {
        module.name.rstrip("_").replace("_", "-"): module.name
        for module in pkgutil.iter_modules(__path__)
        if not module.name.startswith("_")
    }
    ordered = sorted(found, key=lambda name: (_rank(name), name))
    return {
        name: cast(Command, importlib.import_module(f"{__name__}.{found[name]}"))
        for name in ordered
    }


def _rank(name: str) -> int:
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zoo", description="Certifiably robust image classifiers with pretrained weights."
    )
    added = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in commands().items():
        own = added.add_parser(name, help=command.SUMMARY, description=command.SUMMARY)
        own.add_argument("--json", action="store_true", help="print JSON")
        own.set_defaults(run=command.run)
        command.add_arguments(own)
    return parser


def _print(options: argparse.Namespace, result: Any, text: str) -> None:
    try:
        print(json_text(result, indent=1) if options.json else text, flush=True)
    except OSError as error:
        # What is still to be written must not fail once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # A closed pipe means that the reader has seen enough, as in `zoo list | head`.
        if not isinstance(error, BrokenPipeError):
            raise
