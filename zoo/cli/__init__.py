"""The ``zoo`` command.

Each module of this package whose name does not begin with an underscore is one command: ``info.py``
is ``zoo info``. A module whose command has the name of a Python built-in ends in an underscore,
which is not part of the command: ``list_.py`` is ``zoo list``. Such a module has

* ``SUMMARY``: one sentence for ``zoo --help``;
* ``add_arguments(parser)``: adds the command's options to an :class:`argparse.ArgumentParser`;
* ``run(options)``: does the work and returns a pair: the result in JSON's types, and as text.

Every call of ``zoo`` imports the modules of all commands. They therefore import slow packages, such
as Keras, inside ``run``.
"""

import argparse
import contextlib
import importlib
import logging
import os
import pkgutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, cast

from zoo import __version__
from zoo.cli._interruptions import repeating_lost_interruptions
from zoo.cli._unfinished import Unfinished
from zoo.errors import ZooError
from zoo.utils.json_text import json_text
from zoo.utils.terminal import print_any_character

# The help lists these commands first, because a newcomer needs them first; the others are sorted.
_FIRST = ("list", "info", "evaluate", "certify", "attack", "compare")


class Command(Protocol):
    """The attributes of a command's module."""

    SUMMARY: str

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None: ...

    def run(self, options: argparse.Namespace, /) -> tuple[Any, str]: ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: words of the command line; by default those that the program was called with.

    Returns:
        The exit code: 0 after success, 1 after an error, 130 after an interruption.
    """
    # TensorFlow writes its errors alone: among its warnings a short answer would be overlooked.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    print_any_character()
    try:
        options, unknown = _parser().parse_known_args(arguments)
        if unknown:  # argparse itself would print the usage of `zoo` in place of the command's
            options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        try:
            with repeating_lost_interruptions(), _warnings_without_code():
                if options.quiet:
                    _silence_downloads()
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

    Examples:
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
    parser.add_argument("--version", action="version", version=f"certified-zoo {__version__}")
    added = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in commands().items():
        own = added.add_parser(name, help=command.SUMMARY, description=command.SUMMARY)
        own.add_argument("--json", action="store_true", help="print JSON")
        own.add_argument("--quiet", action="store_true", help="show no progress bars")
        own.set_defaults(run=command.run, parser=own)
        command.add_arguments(own)
    return parser


@contextlib.contextmanager
def _warnings_without_code() -> Iterator[None]:
    """A context in which a warning to users is one line, without the line of code that gave it."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
        if issubclass(category, UserWarning):
            print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)
        else:  # for developers
            usual(message, category, *where, **options)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _silence_downloads() -> None:
    """Turn off the progress bars of downloads, and the lines about their repeated tries."""
    os.environ["TQDM_DISABLE"] = "1"  # tqdm reads it when it is imported
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # so does huggingface_hub
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def _print(options: argparse.Namespace, result: Any, text: str) -> None:
    try:
        print(json_text(result, indent=1) if options.json else text, flush=True)
    except OSError as error:
        # Python flushes the output again when it exits. To the null device, that cannot fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # A closed pipe is no error: the reader has stopped reading, as in `zoo list | head`.
        if not isinstance(error, BrokenPipeError):
            raise
