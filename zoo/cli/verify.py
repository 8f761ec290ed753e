"""``zoo verify``."""

import argparse
from typing import Any

from zoo.cli._unfinished import Unfinished
from zoo.errors import DownloadError
from zoo.hub import catalog

SUMMARY = "Check the files of all models that are here, or of one, and load them."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", help="name of a model in the catalog (default: all that are here)"
    )


def run(options: argparse.Namespace) -> tuple[Any, str]:
    from zoo.hub import download, loading

    records = [catalog.info(options.name)] if options.name else catalog.list_models()
    names: list[str] = []
    missing: dict[str, str] = {}

    def verified() -> tuple[Any, str]:
        lines = [f"{name}: files as published, loads" for name in names]
        lines += [f"{name}: not here; {where}" for name, where in missing.items()]
        return {"verified": names, "missing": missing}, "\n".join(lines)

    for record in records:
        try:
            # A model that is asked for by name is fetched from the Hub if need be.
            download.fetch(record.name, local_files_only=options.name is None)
            loading.load(record.name, verify=False)
        except DownloadError as error:
            if options.name:
                raise
            on_hub = f"`zoo download {record.name}` fetches it from the Hub"
            missing[record.name] = on_hub if record.available == "hub" else str(error)
        except Exception as error:
            if not names:
                raise
            raise Unfinished(*verified(), error) from error
        else:
            names.append(record.name)
    return verified()
