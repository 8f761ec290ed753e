"""Draw the results of a paper as the panels that its entry ``[plot]`` lists.

A panel has a ``kind``:

* ``"bars"`` shows the accuracies in ``bars`` for each network with a result. ``note`` adds a number
  to the name of the network.
* ``"epochs"`` shows one of a network's lists of numbers against the epoch, as mean and standard
  deviation over the seeds, for each of the ``lines``.
* ``"shares"`` shows the fraction of a network's numbers that are above a threshold, which goes from
  0 to ``up_to``, for each of the ``lines``.
"""

import numpy as np

from training.tables.results import read
from training.tables.rows import above


def draw(paper, path, results=None):
    """Draw the results of a paper.

    Args:
        paper: :class:`training.tables.papers.Paper`.
        path: image file; the ending of its name chooses the format.
        results: JSON file with the results; by default the paper's own.

    Raises:
        ValueError: if the paper has no plot, or there are no results yet.
    """
    from matplotlib.figure import Figure

    if paper.plot is None:
        raise ValueError(f"there is no plot for {paper.name}")
    found = read(results or paper.results)
    own = {
        name: [found[run.key(seed)] for seed in paper.seeds if run.key(seed) in found]
        for name, run in paper.runs.items()
    }
    own = {name: results for name, results in own.items() if results}
    if not own:
        raise ValueError(
            f"{results or paper.results} has no results; "
            f"python -m training.tables {paper.name} --train"
        )
    panels = paper.plot["panels"]
    figure = Figure(figsize=paper.plot.get("size", (8, 1.2 + 0.5 * len(own))), layout="constrained")
    every = np.atleast_1d(figure.subplots(1, len(panels)))
    for axes, panel in zip(every, panels, strict=True):
        {"bars": _bars, "epochs": _epochs, "shares": _shares}[panel["kind"]](axes, panel, own)
        texts = {key: panel[key] for key in ("xlabel", "ylabel", "title") if key in panel}
        axes.set(**texts)
        handles, labels = axes.get_legend_handles_labels()
        if handles and panel["kind"] == "bars":
            figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))
        elif handles:
            axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)


def _bars(axes, panel, own):
    places, bars = np.arange(len(own)), panel["bars"]
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
    for line in panel["lines"]:
        if line["run"] not in own:
            continue
        values = np.array([result[line["measured"]] for result in own[line["run"]]])
        epochs, mean, deviation = np.arange(1, values.shape[1] + 1), values.mean(0), values.std(0)
        options = {"color": line.get("colour"), "linestyle": line.get("style", "-")}
        (drawn,) = axes.plot(epochs, mean, label=line["label"], **options)
        axes.fill_between(
            epochs, mean - deviation, mean + deviation, color=drawn.get_color(), alpha=0.2
        )
    axes.grid(alpha=0.3)


def _shares(axes, panel, own):
    grid = np.linspace(0, panel.get("up_to", 1.0), 101)
    for line in panel["lines"]:
        if line["run"] not in own:
            continue
        curves = [[above(result[line["measured"]], x) for x in grid] for result in own[line["run"]]]
        axes.plot(grid, 100 * np.mean(curves, axis=0), label=line["label"])
    axes.grid(alpha=0.3)
