"""``python -m training.tables APPROACH``: a paper's tables beside the zoo's own numbers."""

import argparse
import sys

from rich.console import Console
from rich.table import Table

from training.tables import double_backprop, l2nnn, lc_lmt, linf_dist, second_order
from zoo.evaluation.plots import require_drawable
from zoo.utils.json_text import json_text
from zoo.utils.terminal import print_any_character

APPROACHES = {
    "double-backprop": double_backprop,
    "l2nnn": l2nnn,
    "lc-lmt": lc_lmt,
    "linf-dist": linf_dist,
    "second-order": second_order,
}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m training.tables",
        description="Print the tables of a paper beside what this zoo measures. Numbers of the "
        "zoo come from the manifest of its checkpoints; a dash says why there is none.",
    )
    parser.add_argument("approach", choices=sorted(APPROACHES))
    parser.add_argument("--json", action="store_true", help="JSON in place of tables")
    parser.add_argument("--markdown", action="store_true", help="Markdown, for a page")
    parser.add_argument(
        "--train",
        action="store_true",
        help="first train and measure, into runs/, the rows that have no result (not linf-dist)",
    )
    parser.add_argument("--plot", metavar="FILE", help="draw the results as well (l2nnn, lc-lmt)")
    print_any_character()
    options = parser.parse_args(arguments)
    if options.plot and not hasattr(APPROACHES[options.approach], "plot"):
        parser.error(f"--plot: there is no plot for {options.approach}")
    if options.plot:
        try:
            require_drawable(options.plot)
        except (OSError, ValueError) as error:
            parser.error(f"--plot: {error}")
    if options.train:
        if not hasattr(APPROACHES[options.approach], "run"):
            parser.error(
                f"--train: {options.approach}'s rows are checkpoints, trained one by one with "
                "python -m training NAME --measure"
            )
        APPROACHES[options.approach].run("runs")
    if options.plot:
        try:
            APPROACHES[options.approach].plot(options.plot)
        except (OSError, ValueError) as error:
            parser.error(f"--plot: {error}")
    tables = APPROACHES[options.approach].tables()
    if options.json:
        print(json_text(tables, indent=1, ensure_ascii=False))
        return 0
    if options.markdown:
        print("\n".join(map(markdown, tables)))
        return 0
    # Into a file or a pipe, all columns, however many.
    console = Console(width=None if sys.stdout.isatty() else 200)
    for table in tables:
        shown = Table(title=table["title"], title_justify="left", caption=table["caption"])
        columns = list(table["rows"][0])
        for column in columns:
            justify = "left" if column in table["text"] else "right"
            shown.add_column(column, justify=justify, no_wrap=column == columns[0])
        for row in table["rows"]:
            shown.add_row(*(_cell(row[column]) for column in columns))
        console.print(shown)
    return 0


def markdown(table):
    """A table, as :func:`tables` of an approach returns it, for a page."""
    columns = list(table["rows"][0])
    rules = ["---" if column in table["text"] else "---:" for column in columns]
    rows = [[_cell(row[column]) for column in columns] for row in table["rows"]]
    lines = [f"| {' | '.join(cells)} |" for cells in (columns, rules, *rows)]
    return "\n".join([f"**{table['title']}**", "", *lines, "", table["caption"], ""])


def _cell(value):
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
