"""Writes ``MODELS.md``: the leaderboard's rows as Markdown tables."""

from collections.abc import Iterable
from typing import Any

from zoo.evaluation.leaderboard.published import PublishedResult, published
from zoo.evaluation.leaderboard.rows import grouped, rows
from zoo.hub.records import Record

_NORMS = {"linf": "ℓ∞", "l2": "L2"}
_HEAD = """
# Models

Every checkpoint at every budget it was measured at. `zoo leaderboard --models MODELS.md` writes
this page from `weights_manifest.json`; change nothing here by hand.

* **clean**: accuracy on the unchanged test images.
* **attacked**: accuracy under the strongest attack tried, an upper bound: a better attack can
  lower it. `auto` is AutoAttack's ensemble with the zoo's own additions; it leaves out the images
  that are certified at the budget, which no attack can fool.
* **certified**: accuracy that is proven, a lower bound against any attack of that budget. In
  parentheses is its 95 % interval (Wilson), for n images.
* **n**: test images measured.
* **cost**: time of the certificate per image; a dash where not measured.

All certificates are deterministic, and no model saw images beyond its data set's training images.
"""
_COLUMNS = (
    *("eps", "model", "clean", "attacked", "certified", "method", "n"),
    *("training", "hardware", "cost"),
)
_PUBLISHED = (
    "| eps | what was certified | clean | certified | source |",
    "| --- | --- | ---: | ---: | --- |",
)
_ALIGNED = "| --- | --- | ---: | ---: | ---: | --- | ---: | ---: | --- | ---: |"


def models_page(records: Iterable[Record]) -> str:
    """All models with their measured numbers, by data set and norm.

    Args:
        records: iterable of :class:`zoo.hub.records.Record`, as :func:`zoo.list_models` returns.

    Returns:
        Markdown for a file in the root of the repository; the names link to the model cards.

    Examples:
        >>> import zoo
        >>> from zoo.evaluation.leaderboard.models_page import models_page
        >>> "## digits, ℓ∞" in models_page(zoo.list_models(dataset="digits"))
        True
    """
    sections = [_HEAD.lstrip()]
    for (dataset, norm), group in grouped(rows(records)).items():
        table = [f"| {' | '.join(_COLUMNS)} |", _ALIGNED, *(_line(row) for row in group)]
        printed = [_published_line(result) for result in published(dataset, norm)]
        notes = {row["model"]: row["notes"] for row in group if row["notes"]}
        sections.append(f"## {dataset}, {_NORMS[norm]}\n")
        sections.append("\n".join(table) + "\n")
        if printed:
            sections.append("For comparison, as papers print them; nothing was measured here:\n")
            sections.append("\n".join([*_PUBLISHED, *printed]) + "\n")
        if notes:
            lines = [f"* `{name}`: {_text(notes[name])}" for name in sorted(notes)]
            sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)


def _published_line(result: PublishedResult) -> str:
    clean = "–" if result.clean is None else f"{result.clean:.1f}%"
    name = result.name if result.deterministic else f"{result.name}, not deterministic"
    source = f"{result.source}; {result.caveat}" if result.caveat else result.source
    cells = (result.eps, name, clean, f"{result.certified:.1f}%", source)
    return f"| {' | '.join(_text(cell) for cell in cells)} |"


def _line(row: dict[str, Any]) -> str:
    attacked = "–"
    if row["attack"] is not None:
        images = "" if row["attacked_n"] == row["n"] else f", n = {row['attacked_n']:,}"
        attacked = f"{row['attacked']:.2%} ({row['attack']}{images})"
    cost = "–"
    if row["milliseconds"] is not None:
        milliseconds = row["milliseconds"]
        time = f"{milliseconds:,.1f}" if milliseconds >= 1 else f"{milliseconds:.2g}"
        cost = f"{time} ms ({row['cost_hardware']}, n = {row['cost_n']:,})"
    cells = (
        row["eps"],
        f"[{row['model']}](weights/{row['model']}/README.md)",
        f"{row['clean']:.2%}",
        attacked,
        f"{row['certified']:.2%} ({row['certified_low']:.1%} to {row['certified_high']:.1%})",
        row["method"],
        f"{row['n']:,}",
        f"{row['seconds']:,.0f} s, {row['epochs']:,} epochs",
        row["hardware"],
        cost,
    )
    return f"| {' | '.join(_text(cell) for cell in cells)} |"


def _text(text: str) -> str:
    """The text on one line, with ``|`` escaped, which would end the cell of a table."""
    return " ".join(text.split()).replace("|", r"\|")
