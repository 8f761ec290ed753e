"""``zoo leaderboard``."""

import argparse
import os
from typing import Any

from zoo.hub import catalog
from zoo.utils.whole_file import require_writable, write_whole

SUMMARY = "Write all models' numbers as a page."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", metavar="FOLDER", type=os.path.expanduser, help="write index.html into this folder"
    )
    parser.add_argument(
        "--models",
        metavar="FILE",
        type=os.path.expanduser,
        help="write Markdown tables to this file",
    )


def run(options: argparse.Namespace) -> tuple[Any, str]:
    from zoo.evaluation.leaderboard.models_page import models_page
    from zoo.evaluation.leaderboard.page import PAGE, write
    from zoo.evaluation.leaderboard.rows import rows

    if not (options.out or options.models):
        raise ValueError("nothing to write; give --out FOLDER, --models FILE or both")
    for path in filter(None, (options.out and os.path.join(options.out, PAGE), options.models)):
        require_writable(path, makes_folders=True)
    records = catalog.list_models()
    written = []
    if options.out:
        written.append(str(write(options.out, records)))
    if options.models:
        write_whole(options.models, models_page(records))
        written.append(options.models)
    return {"written": written, "rows": rows(records)}, "\n".join(written)
