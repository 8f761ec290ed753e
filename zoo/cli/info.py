"""``zoo info``."""

import argparse
from typing import Any

from zoo.hub import catalog

SUMMARY = "Show everything that is known about a model."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of a model in the catalog")


def run(options: argparse.Namespace) -> tuple[Any, str]:
    record = catalog.info(options.name)
    return record.to_dict(), str(record)
