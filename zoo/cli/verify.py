"""``zoo verify``."""

import argparse
import os
from typing import Any

from zoo.cli._unfinished import Unfinished
from zoo.errors import DownloadError, IntegrityError
from zoo.hub import catalog

SUMMARY = "Check the files of all installed or downloaded models, or of one, and load them."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        nargs="?",
        help="name of a model in the catalog (default: all that are installed or downloaded)",
    )


def _is_own(name: str) -> bool:
    """Whether a name is that of a folder, a file or a Hub repository, not of the catalog."""
    from zoo.hub import download

    known = {record.name for record in catalog.list_models()}
    return download.is_outside_catalog(name) or (name not in known and os.path.exists(name))


def run(options: argparse.Namespace) -> tuple[Any, str]:
    from zoo.hub import download, loading
    from zoo.utils.backend import require_backend

    if options.name and _is_own(options.name):
        raise ValueError(
            f"zoo verify takes names of the catalog, not {options.name!r}; `zoo download` checks "
            "the files of a folder or of a model on the Hub"
        )
    records = [catalog.info(options.name)] if options.name else catalog.list_models()
    # Without a backend, or with another float type, no model can be loaded.
    require_backend()
    from zoo.ops.precision import require_float32_arrays

    require_float32_arrays()
    names: list[str] = []
    missing: dict[str, str] = {}
    failures: dict[str, Exception] = {}
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
            if options.name:
                raise
            failures[record.name] = error
        else:
            names.append(record.name)
    damaged = {name: str(error) for name, error in failures.items()}
    lines = [f"{name}: files as published, loads" for name in names]
    lines += [f"{name}: not here; {where}" for name, where in missing.items()]
    lines += [f"{name}: damaged; {reason}" for name, reason in damaged.items()]
    result = {"verified": names, "missing": missing, "damaged": damaged}
    if failures:
        failure = IntegrityError(f"damaged: {', '.join(failures)}")
        raise Unfinished(result, "\n".join(lines), failure) from next(iter(failures.values()))
    return result, "\n".join(lines)
