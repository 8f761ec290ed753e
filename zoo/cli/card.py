"""``zoo card``."""

import argparse
from typing import Any

from zoo.hub import catalog

SUMMARY = "Print a model's card, as it is published."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of a model in the catalog")


def run(options: argparse.Namespace) -> tuple[Any, str]:
    from zoo.hub.card import card

    text = card(catalog.info(options.name))
    return {"name": options.name, "card": text}, text
