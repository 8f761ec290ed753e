"""``zoo list``."""

import argparse
from typing import Any

from zoo.hub import catalog

SUMMARY = "List the models and their accuracies."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pattern", nargs="?", default="*", help="only models whose name matches, with * and ?"
    )
    for key in ("dataset", "norm", "approach"):
        parser.add_argument(f"--{key}", help=f"only models of this {key}")
    parser.add_argument(
        "--available",
        action="store_true",
        help="only models whose weights are installed or on the Hub",
    )


def run(options: argparse.Namespace) -> tuple[Any, str]:
    records = catalog.list_models(
        options.pattern,
        dataset=options.dataset,
        norm=options.norm,
        approach=options.approach,
        available=True if options.available else None,
    )
    if not records and not catalog.list_models(options.pattern):
        raise ValueError(
            f"no model is called {options.pattern!r}; in a pattern * stands for any letters, as in "
            "'*-mnist'"
        )
    text = str(records) if records else "no model matches"
    return [record.to_dict() for record in records], text
