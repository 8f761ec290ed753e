"""Draw the results of a paper as the panels that its entry ``[plot]`` lists.

A panel has a ``kind``:

* ``"bars"`` shows the accuracies in ``bars`` for each network with a result. ``note`` adds a number
  to the name of the network.
* ``"epochs"`` shows one of a network's lists of numbers against the epoch, as mean and standard
  deviation over the seeds, for each of the ``lines``.
* ``"shares"`` shows the fraction of a network's numbers that are above a threshold, which goes from
  0 to ``up_to``, for each of the ``lines``.
* ``"scaling"`` shows certified accuracy against multiply-adds, on a logarithmic axis, for the rows
  of the first table in one ``group``. Each of the ``networks`` is a line through the rows whose
  label is its name, alone or before a comma. The line ends in a star, which is the printed result.
"""

import pathlib

import numpy as np

from training.tables.queue import shown
from training.tables.results import read
from training.tables.rows import above, tables
from zoo.utils.whole_file import whole_file


def draw(paper, path, results=None):
    """Draw the results of a paper. A result without what a panel shows is left out of that panel.

    Args:
        paper: :class:`training.tables.papers.Paper`.
        path: image file; the ending of its name chooses the format. It is written completely or
            not at all.
        results: JSON file with the results; by default the paper's own.

    Raises:
        ValueError: if the paper has no plot, or there are no results yet.
    """
    from matplotlib.figure import Figure

    if paper.plot is None:
        raise ValueError(f"there is no plot for {paper.name}")
    found = read(results or paper.results)
    own = {name: shown(run, found) for name, run in paper.runs.items()}
    own = {name: results for name, results in own.items() if results}
    panels = paper.plot["panels"]
    if not own and any(panel["kind"] != "scaling" for panel in panels):
        raise ValueError(
            f"{results or paper.results} has no results; "
            f"python -m training.tables {paper.name} --train"
        )
    figure = Figure(figsize=paper.plot.get("size", (8, 1.2 + 0.5 * len(own))), layout="constrained")
    every = np.atleast_1d(figure.subplots(1, len(panels)))
    for axes, panel in zip(every, panels, strict=True):
        if panel["kind"] == "scaling":
            _scaling(axes, panel, tables(paper, results)[0]["rows"])
        else:
            {"bars": _bars, "epochs": _epochs, "shares": _shares}[panel["kind"]](axes, panel, own)
        texts = {key: panel[key] for key in ("xlabel", "ylabel", "title") if key in panel}
        axes.set(**texts)
        handles, labels = axes.get_legend_handles_labels()
        if handles and panel["kind"] == "bars":
            figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))
        elif handles:
            axes.legend(fontsize="small")
    kind = pathlib.Path(path).suffix.removeprefix(".").lower() or None
    with whole_file(path) as file:
        figure.savefig(file, dpi=150, format=kind)


def _with(own, *measured):
    """The networks with results that have all these measurements, and those results."""
    found = {
        name: [result for result in results if result.keys() >= {*measured}]
        for name, results in own.items()
    }
    return {name: results for name, results in found.items() if results}


def _bars(axes, panel, own):
    bars, note = panel["bars"], [panel["note"]] if "note" in panel else []
    own = _with(own, *(entry["measured"] for entry in bars + note))
    places = np.arange(len(own))
    for index, bar in enumerate(bars):
        heights = [100 * np.mean([result[bar["measured"]] for result in r]) for r in own.values()]
        shift = 0.27 * (index - (len(bars) - 1) / 2)
        axes.barh(places + shift, heights, 0.25, label=bar["label"])
    names = list(own)
    if "note" in panel:
        notes = [
            np.mean([x[panel["note"]["measured"]] for x in results]) for results in own.values()
        ]
        pairs = zip(names, notes, strict=True)
        names = [f"{name}\n{panel['note']['text'].format(note)}" for name, note in pairs]
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlim(0, 101)
    axes.grid(axis="x", alpha=0.3)


def _epochs(axes, panel, own):
    for line, results in _lines(panel, own):
        values = np.array([result[line["measured"]] for result in results])
        epochs, mean = np.arange(1, values.shape[1] + 1), values.mean(0)
        deviation = values.std(0, ddof=1) if len(values) > 1 else np.zeros_like(mean)
        (drawn,) = axes.plot(epochs, mean, label=line["label"], **_options(line))
        axes.fill_between(
            epochs, mean - deviation, mean + deviation, color=drawn.get_color(), alpha=0.2
        )
    axes.grid(alpha=0.3)


def _shares(axes, panel, own):
    grid = np.linspace(0, panel.get("up_to", 1.0), 101)
    for line, results in _lines(panel, own):
        curves = [[above(result[line["measured"]], x) for x in grid] for result in results]
        axes.plot(grid, 100 * np.mean(curves, axis=0), label=line["label"], **_options(line))
    axes.grid(alpha=0.3)


def _lines(panel, own):
    """The lines of a panel that have results, each with those."""
    for line in panel["lines"]:
        results = _with(own, line["measured"]).get(line["run"])
        if results:
            yield line, results


def _options(line):
    return {"color": line.get("colour"), "linestyle": line.get("style", "-")}


def _scaling(axes, panel, rows):
    for name in panel["networks"]:
        own, printed = scaling(rows, panel["group"], name)
        (drawn,) = axes.plot(*zip(*own, strict=True), marker="o", label=name) if own else (None,)
        colour = drawn.get_color() if drawn else None
        way = [*own[-1:], *printed]
        axes.plot(*zip(*way, strict=True), linestyle=":", color=colour)
        axes.plot(*zip(*printed, strict=True), "*", color=colour, markersize=12)
    axes.set_xscale("log")
    axes.margins(y=0.2)  # the legend has room above the highest point
    axes.grid(alpha=0.3)


def scaling(rows, group, name):
    """The points of a line in a panel of the kind ``"scaling"``.

    Args:
        rows: rows of a table, as :func:`training.tables.rows.tables` returns them.
        group: the data set.
        name: the network.

    Returns:
        ``(own, printed)``, lists of pairs of millions of multiply-adds and certified accuracy in
        per cent, in the order of the multiply-adds.
    """

    def points(cost, accuracy):
        found = [
            (row[cost], row[accuracy])
            for row in rows
            if row["data set"] == group and row["method"].partition(",")[0] == name
        ]
        return sorted(point for point in found if None not in point)

    return points("our FLOPs M", "our certified"), points("FLOPs M", "certified")
