"""``zoo card``."""

import argparse
from typing import Any

from zoo.hub import catalog
from zoo.hub.download import check, is_outside_catalog
from zoo.utils.terminal import printable

SUMMARY = "Print a model's card, as it is published."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="model name, hf://org/repo[@revision], or folder")


def run(options: argparse.Namespace) -> tuple[Any, str]:
    check(options.name)
    if is_outside_catalog(options.name):
        from zoo.hub.description import card_of

        card = card_of(options.name)
        text = "\n".join(map(printable, card.split("\n")))
    else:
        from zoo.hub.card import card as card_for

        text = card = card_for(catalog.info(options.name))
    return {"name": options.name, "card": card}, text
