"""``zoo publish``."""

import argparse
import contextlib
from collections.abc import Iterator
from typing import Any

from zoo.cli._model_options import budget
from zoo.cli._unfinished import Unfinished
from zoo.errors import PublishError

SUMMARY = "Audit a model and publish it on the Hugging Face Hub."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", help="name of a model in the catalog, a folder, or a .keras file"
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="publish every checkpoint of the catalog; after an interruption, repeat the command",
    )
    parser.add_argument(
        "--to",
        required=True,
        metavar="ORG[/NAME]",
        help="organisation or user on the Hugging Face Hub, and the name of the repository "
        "(default: that of the model, folder or file)",
    )
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--dry-run", action="store_true", help="audit the files, but send nothing")
    parser.add_argument(
        "--sample",
        type=int,
        metavar="N",
        default=100,
        help="number of test images to measure (default: %(default)s)",
    )
    parser.add_argument(
        "--data",
        metavar="IMAGES",
        help="image set or .npz file to measure on (default: the test set of a model in the "
        "catalog; other models are not measured)",
    )
    parser.add_argument(
        "--eps",
        type=budget,
        nargs="+",
        default=[],
        help="budgets to measure, in units of the [0, 1] image, for a model that is your own; they "
        "need --data",
    )
    parser.add_argument("--license", help="licence of a model that is your own, such as mit")


def run(options: argparse.Namespace) -> tuple[Any, str]:
    from zoo.hub.publishing import publish

    if options.all:
        return _publish_all(options)
    if options.name is None:
        raise ValueError("give the name of a model, a folder, a .keras file, or --all")
    with _bars_of_the_client(not options.quiet):
        result = publish(
            options.name,
            options.to,
            private=options.private,
            dry_run=options.dry_run,
            sample=options.sample,
            data=options.data,
            eps=options.eps,
            license=options.license,
        )
    where = (
        f"would be published as {result['repo_id']}"
        if options.dry_run
        else f"is published: hf://{result['repo_id']}@{result['revision']}"
    )
    lines = [
        f"{options.name} {where}",
        *(f"  {file}: {size:,} bytes" for file, size in result["files"].items()),
        _audit_line(result["audit"]),
    ]
    if result["pinned"]:
        lines.append("  the revision is pinned in the catalog")
    return result, "\n".join(lines)


@contextlib.contextmanager
def _bars_of_the_client(show: bool) -> Iterator[None]:
    """A context in which huggingface_hub shows its progress bars, or does not."""
    from huggingface_hub import utils

    if show or utils.are_progress_bars_disabled():
        yield
        return
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.enable_progress_bars()


def _audit_line(measured: dict[str, Any]) -> str:
    if "clean" not in measured:
        return "  audit in a fresh process: loads and certifies"
    certified = [f"{accuracy:.2%} at {eps}" for eps, accuracy in measured["certified"].items()]
    return (
        f"  audit of {measured['n']} test images in a fresh process: clean {measured['clean']:.2%}"
        + (f", certified {', '.join(certified)}" if certified else "")
    )


def _publish_all(options: argparse.Namespace) -> tuple[Any, str]:
    from zoo.hub.publishing import publish_all

    given = {"a name": options.name, "--data": options.data, "--eps": options.eps}
    for option, value in {**given, "--license": options.license}.items():
        if value:
            raise ValueError(f"--all publishes the checkpoints of the catalog; leave out {option}")
    results: list[dict[str, Any]] = []
    running = publish_all(
        options.to,
        private=options.private,
        dry_run=options.dry_run,
        sample=options.sample,
        verbose=not options.quiet,
    )
    try:
        with _bars_of_the_client(False):  # they would be drawn over ours
            for result in running:
                results.append(result)  # those before an interruption stay in the list
    except KeyboardInterrupt as interruption:
        raise Unfinished(*_report(results), interruption) from None
    failed = [result["name"] for result in results if result["status"] == "failed"]
    if failed:
        failure = PublishError(
            f"{len(failed)} of {len(results)} checkpoints failed: {', '.join(failed)}; the same "
            "command tries them again"
        )
        raise Unfinished(*_report(results), failure)
    return _report(results)


def _report(results: list[dict[str, Any]]) -> tuple[Any, str]:
    lines = []
    for result in results:
        where = f"hf://{result['repo_id']}" + (
            f"@{result['revision']}" if result["revision"] else ""
        )
        lines.append(f"{result['name']}: {result['status']}, {result['error'] or where}")
    counts = dict.fromkeys(("published", "unchanged", "audited", "failed"), 0)
    for result in results:
        counts[result["status"]] += 1
    lines.append(", ".join(f"{count} {status}" for status, count in counts.items() if count))
    return {"checkpoints": results, "counts": counts}, "\n".join(lines)
