"""Writes the tables and BibTeX entries of the pages in docs/: ``python -m site_tools.tables``.

A page asks for one with two comments, between which everything is replaced::

    <!-- site_tools.tables: measured linf-dist -->
    <!-- end -->

The text stands in the page itself, so that it can be read where the page is not built. A test
compares it with the data.
"""

import argparse
import pathlib
import re

from site_tools.attack_tables import attack_tables
from site_tools.model_table import model_table
from training.tables import papers
from training.tables.markdown import markdown
from training.tables.rows import tables
from zoo.hub import catalog
from zoo.papers import PAPERS
from zoo.utils.norms import SYMBOLS

DOCS = pathlib.Path(__file__).parents[1] / "docs"
_BLOCK = re.compile(r"(<!-- site_tools\.tables: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def measured(approach, *attacks):
    """The measured accuracies of an approach's checkpoints, one row for each budget.

    Args:
        approach: as in ``Record.approach``.
        attacks: names of attacks that get a column each; without any, there is one column with the
            accuracy under the strongest attack that was tried.
    """
    return _accuracies(catalog.list_models(approach=approach), attacks)


def of_images(dataset):
    """The measured accuracies of an image set's checkpoints, one row for each budget."""
    return _accuracies(catalog.list_models(dataset=dataset), ())


def _accuracies(records, attacks):
    norms = {SYMBOLS[record.norm] for record in records}
    columns = [f"{name}, %" for name in attacks] or ["attacked, %"]
    eps = f"{next(iter(norms))} eps" if len(norms) == 1 else "eps"
    rows = [["checkpoint", "clean, %", eps, *columns, "certified, %", "images", "ms"]]
    rows.append(["---"] + ["---:"] * (len(rows[0]) - 1))
    for record in records:
        metrics = record.metrics
        for best in metrics.best_certified():
            budget = best.norm, best.eps
            tried = [result for result in metrics.attacked if (result.norm, result.eps) == budget]
            if attacks:
                found = [[result for result in tried if result.attack == name] for name in attacks]
            else:
                found = [tried]
            counts = dict.fromkeys(f"{count:,}" for count in (best.n, *(r.n for r in tried)))
            rows.append(
                [
                    f"`{record.name}`",
                    percent(metrics.clean, metrics.n),
                    best.eps if len(norms) == 1 else f"{SYMBOLS[best.norm]} {best.eps}",
                    *map(_strongest, found),
                    percent(best.accuracy, best.n),
                    " / ".join(counts),
                    _milliseconds(metrics.cost),
                ]
            )
    return _table(rows)


def methods(*names):
    """The accuracy that each method certifies, for some checkpoints."""
    metrics = {name: catalog.info(name).metrics for name in names}
    found = list(dict.fromkeys(r.method for entry in metrics.values() for r in entry.certified))
    rows = [["checkpoint", "ℓ∞ eps", *(f"`{method}`, %" for method in reversed(found))]]
    rows.append(["---"] + ["---:"] * (len(rows[0]) - 1))
    for name, entry in metrics.items():
        for eps in dict.fromkeys(result.eps for result in entry.certified):
            cells = {
                result.method: percent(result.accuracy, result.n)
                for result in entry.certified
                if result.eps == eps
            }
            rows.append([f"`{name}`", eps, *(cells.get(m, "–") for m in reversed(found))])
    return _table(rows)


def paper(name):
    """All tables of a paper, the printed numbers beside ours."""
    return "\n".join(markdown(table) for table in tables(papers.load(name))).rstrip("\n")


def bibtex(*names):
    """The BibTeX entries of papers, by their names in ``zoo.papers.PAPERS``."""
    return "```bibtex\n" + "\n\n".join(PAPERS[name].bibtex for name in names) + "\n```"


BLOCKS = {
    function.__name__: function
    for function in (measured, of_images, methods, paper, bibtex, model_table, attack_tables)
}


def percent(accuracy, n):
    """An accuracy with as many digits as so many images can tell apart."""
    return f"{100 * accuracy:.{2 if n >= 10_000 else 1}f}"


def _strongest(results):
    best = min(results, key=lambda result: result.accuracy, default=None)
    return "–" if best is None else percent(best.accuracy, best.n)


def _milliseconds(cost):
    if cost is None:
        return "–"
    return f"{cost.milliseconds:.{0 if cost.milliseconds >= 10 else 2}f}"


def _table(rows):
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def updated(text):
    """The text of a page with all of its blocks made anew."""

    def block(match):
        kind, *arguments = match[2].split()
        return f"{match[1]}\n{BLOCKS[kind](*arguments)}\n\n{match[3]}"

    return _BLOCK.sub(block, text)


def main():
    argparse.ArgumentParser(description="Update the tables in docs/ from their data.").parse_args()
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        new = updated(text)
        if new != text:
            page.write_text(new, encoding="utf-8")
            print(f"updated {page.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
