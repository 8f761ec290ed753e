"""``zoo publish``."""

import argparse
from typing import Any

SUMMARY = "Audit a model and publish it on the Hugging Face Hub."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of a model in the catalog")
    parser.add_argument(
        "--to", required=True, metavar="ORG", help="organisation or user on the Hugging Face Hub"
    )
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--dry-run", action="store_true", help="audit the files, but send nothing")
    parser.add_argument(
        "--sample",
        type=int,
        default=100,
        help="number of test images to measure again (default: %(default)s)",
    )
    parser.add_argument("--data", help=".npz file to use instead of the model's test set")


def run(options: argparse.Namespace) -> tuple[Any, str]:
    from zoo.hub.publishing import publish

    result = publish(
        options.name,
        options.to,
        private=options.private,
        dry_run=options.dry_run,
        sample=options.sample,
        data=options.data,
    )
    measured, sizes = result["audit"], result["files"]
    where = (
        f"would be published as {result['repo_id']}"
        if options.dry_run
        else f"is published: hf://{result['repo_id']}@{result['revision']}"
    )
    return result, "\n".join(
        [
            f"{options.name} {where}",
            *(f"  {file}: {size:,} bytes" for file, size in sizes.items()),
            f"  audit of {measured['n']} test images in a fresh process: clean "
            f"{measured['clean']:.2%}, certified "
            + ", ".join(f"{a:.2%} at {eps}" for eps, a in measured["certified"].items()),
        ]
    )
