"""``python -m training.tables [PAPER]``: print the tables of papers beside the zoo's results."""

import argparse
import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from training.tables import papers, plot, queue, results
from training.tables.markdown import cell, markdown
from training.tables.rows import tables
from zoo.errors import ZooError
from zoo.evaluation.plots import require_drawable
from zoo.utils.backend import start_in_float32
from zoo.utils.json_text import json_text
from zoo.utils.terminal import print_any_character


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m training.tables",
        description="Print the tables of a paper beside the results of this zoo. The tables are "
        "described in training/papers. A dash stands for a missing number; the status of the row "
        "says why it is missing.",
    )
    parser.add_argument(
        "paper",
        nargs="?",
        choices=papers.names(),
        metavar="paper",
        help=f"one of {', '.join(papers.names())}; without it, all of them",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables for a page")
    parser.add_argument(
        "--train",
        action="store_true",
        help="first train and measure the networks that have no result of their present recipe, "
        "one after the other, with runs in runs/tables; the same command continues after an "
        "interruption",
    )
    parser.add_argument(
        "--queue",
        action="store_true",
        help="instead of the tables, print what --train would train, in its order, with estimates "
        "of the time from earlier results",
    )
    parser.add_argument(
        "--only", metavar="RUN", nargs="+", help="with --train or --queue, only these runs"
    )
    parser.add_argument("--plot", metavar="FILE", help="also draw the paper's results in this file")
    print_any_character()
    options = parser.parse_args(arguments)
    if (options.plot or options.only) and not options.paper:
        parser.error(f"--{'plot' if options.plot else 'only'} needs the name of a paper")
    if options.only and not (options.train or options.queue):
        parser.error("--only says what to train; give --train as well")
    try:
        chosen = [papers.load(name) for name in [options.paper] if name] or list(
            map(papers.load, papers.names())
        )
        if options.plot and chosen[0].plot is None:
            parser.error(f"--plot: there is no plot for {options.paper}")
        if options.plot:
            require_drawable(options.plot)
        if options.queue:
            for paper in chosen:
                show_queue(paper, options.only)
            return 0
        if options.train:
            train(chosen, options.only)
        if options.plot:
            plot.draw(chosen[0], options.plot)
        shown = [table for paper in chosen for table in tables(paper)]
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last saved state", file=sys.stderr)
        return 130
    except (ZooError, ValueError, OSError, RuntimeError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json_text(shown, indent=1, ensure_ascii=False))
    elif options.markdown:
        print("\n".join(map(markdown, shown)))
    else:
        show(shown)
    return 0


def train(chosen, only=None):
    """Fill the results of several papers; one that fails does not hold up the others."""
    start_in_float32()
    failed = []
    for paper in chosen:
        try:
            results.fill(paper, "runs/tables", only=only)
        except RuntimeError as error:
            failed.append(f"{paper.name}: {error}")
    if failed:
        raise RuntimeError("; ".join(failed))


def show_queue(paper, only=None):
    """Print the networks that wait to be trained or measured, and the time of all of them."""
    jobs = queue.waiting(paper, results.read(paper.results), only=only)
    known = [job.seconds for job in jobs if np.isfinite(job.seconds)]
    unknown = len(jobs) - len(known)
    total = f"about {queue.duration(sum(known))}" + (f", and {unknown} unknown" if unknown else "")
    print(f"{paper.name}: {len(jobs)} networks wait, {total if jobs else 'nothing is left'}")
    for job in jobs:
        print(f"  {job}")


def show(shown):
    """Print tables; output to a file or a pipe is wide enough for all their columns."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    for table in shown:
        printed = Table(title=table["title"], title_justify="left", caption=table["caption"])
        columns = list(table["rows"][0])
        for column in columns:
            justify = "left" if column in table["text"] else "right"
            printed.add_column(column, justify=justify, no_wrap=column == columns[0])
        for row in table["rows"]:
            printed.add_row(*(cell(row[column]) for column in columns))
        console.print(printed)


if __name__ == "__main__":
    sys.exit(main())
