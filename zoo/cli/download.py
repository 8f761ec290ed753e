"""``zoo download``."""

import argparse
import os
from typing import Any

from zoo.utils.whole_file import require_writable

SUMMARY = "Fetch and verify a model's files."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="model name, hf://org/repo[@revision], or folder")
    parser.add_argument("--revision", help="revision of the Hub repository")
    parser.add_argument(
        "--cache-dir", metavar="FOLDER", help="folder to use instead of the Hub client's cache"
    )


def run(options: argparse.Namespace) -> tuple[Any, str]:
    from zoo.hub import checkpoint, download

    if options.cache_dir and not os.path.isdir(options.cache_dir):
        require_writable(os.path.join(options.cache_dir, "file"), makes_folders=True)
    folder = download.fetch(options.name, revision=options.revision, cache_dir=options.cache_dir)
    checkpoint.require_readable(folder)
    folder = folder.absolute()
    return {"name": options.name, "folder": str(folder)}, str(folder)
