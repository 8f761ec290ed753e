"""``zoo cite``."""

import argparse
from typing import Any

from zoo.citation import cite
from zoo.papers import PAPERS

SUMMARY = "Print the BibTeX entries to cite for a model."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        nargs="?",
        help=f"model name, approach or loss: {', '.join(PAPERS)} (default: this package alone)",
    )


def run(options: argparse.Namespace) -> tuple[Any, str]:
    text = cite(options.name)
    return {"name": options.name, "bibtex": text}, text
