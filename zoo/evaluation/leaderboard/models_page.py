"""Writes ``MODELS.md``: the leaderboard's rows as Markdown tables."""

from collections.abc import Iterable
from typing import Any

from zoo.evaluation.leaderboard.published import PublishedResult, published
from zoo.evaluation.leaderboard.rows import best_rows, grouped, rows
from zoo.hub.records import Record
from zoo.utils.norms import SYMBOLS

_HEAD = """
# Models

Every checkpoint at every budget it was measured at, with its best certificate there. `zoo
leaderboard --models MODELS.md` writes this page from `weights_manifest.json`; change nothing here
by hand. The page that `zoo leaderboard --out FOLDER` writes shows the same numbers with charts, and
with every certificate.

* **eps**: the budget, the largest change of an image with values in [0, 1]. In ℓ∞ it is the largest
  change of one value; in L2 it is the root of the sum of the squared changes.
* **certified**: accuracy that is proven, a lower bound against any attack of that budget. In
  parentheses is its 95 % interval (Wilson) in percent, for n images.
* **attacked**: accuracy under the strongest attack tried, an upper bound: a better attack can
  lower it. Of attacks that leave the same accuracy, the first is named. A star marks attacks that
  were measured on fewer than n images; then it is an upper bound for these images. `auto` is
  AutoAttack's ensemble with the zoo's own additions; it leaves out the images that are certified at
  the budget, which no attack can fool.
* **clean**: accuracy on the unchanged test images.
* **n**: test images measured.
* **first, s**: seconds that the certificate takes for the first image after a model was loaded.
* **ms**: milliseconds that the certificate takes for each further image. A dash stands where it was
  not measured.

All certificates are deterministic, and no model saw images beyond its data set's training images.
The numbers printed in papers are those of the papers whose methods are used here, or of networks of
similar size. They are not the best known ones: on CIFAR-10 at L2 36/255, much larger networks
[certify 78.1 %](https://github.com/hukkai/liresnet). This network, LiResNet, is the one exception
among the numbers below.
"""
_MEASURED = (
    "| eps | model | certified | attacked | clean | n |",
    "| --- | --- | ---: | ---: | ---: | ---: |",
)
_PUBLISHED = (
    "| eps | what was certified | certified | clean | source |",
    "| --- | --- | ---: | ---: | --- |",
)
_TRAINED = (
    "| model | certificate | first, s | ms | MB | epochs | training | hardware |",
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
)
_SPACE = "\N{NO-BREAK SPACE}"


def models_page(records: Iterable[Record]) -> str:
    """All models with their measured numbers, by data set and norm.

    Args:
        records: iterable of :class:`zoo.hub.records.Record`, as :func:`zoo.list_models` returns.

    Returns:
        Markdown for a file in the root of the repository; the names link to the model cards. The
        cells of its tables are so short that each stays on one line.

    Examples:
        >>> import zoo
        >>> from zoo.evaluation.leaderboard.models_page import models_page
        >>> "## digits, ℓ∞" in models_page(zoo.list_models(dataset="digits"))
        True
    """
    sections = [_HEAD.lstrip()]
    for (dataset, norm), group in grouped(best_rows(rows(records))).items():
        sections.append(f"## {dataset}, {SYMBOLS[norm]}\n")
        sections.append(_table(*_MEASURED, *map(_line, group)))
        if printed := published(dataset, norm):
            sections.append("As papers print them, for comparison; nothing was measured here:\n")
            sections.append(_table(*_PUBLISHED, *map(_published_line, printed)))
            sections.append(_sources(printed))
        models: dict[str, dict[str, Any]] = {}
        for row in group:
            models.setdefault(row["model"], row)
        sections.append("How they certify, and how they were trained:\n")
        sections.append(_table(*_TRAINED, *(_trained(models[name]) for name in sorted(models))))
        notes = [
            f"* `{name}`: {_text(models[name]['notes'])}"
            for name in sorted(models)
            if models[name]["notes"]
        ]
        if notes:
            sections.append("\n".join(notes) + "\n")
    return "\n".join(sections)


def _table(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    attacked = "–"
    if row["attack"] is not None:
        star = "" if row["attacked_n"] == row["n"] else "*"
        attacked = f"{row['attacked']:.2%} ({row['attack']}{star})"
    interval = f"{100 * row['certified_low']:.1f}–{100 * row['certified_high']:.1f}"
    return _cells(
        row["eps"],
        _name(row["model"]),
        f"{row['certified']:.2%} ({interval})",
        attacked,
        f"{row['clean']:.2%}",
        f"{row['n']:,}",
    )


def _trained(row: dict[str, Any]) -> str:
    return _cells(
        _name(row["model"]),
        row["method"],
        "–" if row["first_seconds"] is None else f"{row['first_seconds']:.1f}",
        "–" if row["milliseconds"] is None else _milliseconds(row["milliseconds"]),
        f"{row['bytes'] / 1e6:.1f}",
        f"{row['epochs']:,}",
        f"{row['seconds']:,.0f} s",
        row["hardware"],
    )


def _published_line(result: PublishedResult) -> str:
    name = result.name if result.deterministic else f"{result.name}, not deterministic"
    clean = "–" if result.clean is None else f"{result.clean:.1f}%"
    return _cells(result.eps, name, f"{result.certified:.1f}%", clean, result.short_source)


def _sources(results: list[PublishedResult]) -> str:
    """The sources in full, and what has to be known before comparing."""
    names: dict[str, list[str]] = {}
    for result in results:
        if result.caveat:
            names.setdefault(_text(result.caveat), []).append(_text(result.name))
    caveats = [f"* {'; '.join(about)}: {caveat}." for caveat, about in names.items()]
    sources = dict.fromkeys(f"* {_text(result.source)}." for result in results)
    return "\n".join([*caveats, *sources]) + "\n"


def _name(model: str) -> str:
    return f"[{model}](weights/{model}/README.md)"


def _milliseconds(time: float) -> str:
    return f"{time:,.1f}" if time >= 1 else f"{time:.2g}"


def _cells(*texts: str) -> str:
    """A line of a table, whose cells a browser does not break at spaces."""
    texts = tuple(_text(text).replace(" ", _SPACE) for text in texts)
    return f"| {' | '.join(texts)} |"


def _text(text: str) -> str:
    """The text on one line, with ``|`` escaped, which would end the cell of a table."""
    return " ".join(text.split()).replace("|", r"\|")
