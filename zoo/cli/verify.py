"""``zoo verify``."""

import argparse
from typing import Any

from zoo.cli._unfinished import Unfinished
from zoo.hub import catalog

SUMMARY = "Check the files of all models, or of one, and load them."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="name of a model in the catalog (default: all)")


def run(options: argparse.Namespace) -> tuple[Any, str]:
    from zoo.hub import download, loading

    records = [catalog.info(options.name)] if options.name else catalog.list_models()
    names: list[str] = []

    def verified() -> tuple[Any, str]:
        lines = [f"{name}: files as published, loads" for name in names]
        return {"verified": names}, "\n".join(lines)

    for record in records:
        try:
            download.fetch(record.name)
            loading.load(record.name, verify=False)
        except Exception as error:
            if not names:
                raise
            raise Unfinished(*verified(), error) from error
        names.append(record.name)
    return verified()
