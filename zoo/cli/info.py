"""``zoo info``."""

import argparse
from typing import Any

from zoo.hub import catalog
from zoo.hub.download import check, is_outside_catalog

SUMMARY = "Show everything that is known about a model."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="model name, hf://org/repo[@revision], or folder")


def run(options: argparse.Namespace) -> tuple[Any, str]:
    check(options.name)
    if is_outside_catalog(options.name):
        from zoo.hub.description import describe

        found = describe(options.name)
    else:
        found = catalog.info(options.name)
    return found.to_dict(), str(found)
