"""Plots of robustness reports."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.epsilon import Epsilon
from zoo.typing import Path
from zoo.utils.axes import axes_or_new, finish
from zoo.utils.norms import SYMBOLS
from zoo.utils.whole_file import require_writable, whole_file

if TYPE_CHECKING:
    from zoo.evaluation.by_class import ClassReport
    from zoo.evaluation.report import RobustnessReport

#: Endings of the names of image files; each stands for a format that matplotlib writes.
FORMATS = ("eps", "jpeg", "jpg", "pdf", "png", "ps", "svg", "tif", "tiff", "webp")


def require_drawable(path: Path) -> None:
    """Raise unless :func:`draw` can draw into this file.

    Args:
        path: image file; the ending of its name chooses the format.

    Raises:
        OSError: if the file cannot be written.
        ValueError: if the ending is none of :data:`FORMATS`.
    """
    require_writable(path)
    ending = pathlib.Path(path).suffix.removeprefix(".").lower()
    if ending and ending not in FORMATS:  # without an ending, the file is a PNG
        raise ValueError(f"cannot draw {path}: the ending must be one of {', '.join(FORMATS)}")


def draw(path: Path, plot: Callable[[Any], Any]) -> None:
    """Draw into an image file, without a window and without pyplot.

    Args:
        path: image file; the ending of its name chooses the format. It is written completely or
            not at all.
        plot: function that draws into the axes that it is given, such as ``report.plot``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    plot(figure.add_subplot())
    kind = pathlib.Path(path).suffix.removeprefix(".").lower() or None
    with whole_file(path) as file:
        figure.savefig(file, dpi=150, format=kind)


def certified_accuracy(report: "RobustnessReport", ax: Any = None) -> Any:
    """Draw the certified accuracy against the budget, and the accuracy under attack as points.

    Args:
        report: :class:`zoo.evaluation.RobustnessReport`.
        ax: as for ``report.plot``.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
    eps, accuracy = report.certificate.curve(report.labels)
    ax.step(eps, 100 * accuracy, where="post", label=f"certified ({report.method})")
    ax.axhline(100 * report.clean, linestyle=":", color="gray", label="clean")
    budgets = [float(Epsilon(row["eps"])) for row in report.rows]
    for name in report.rows[0]["attacked"] if report.rows else []:
        if name != "all":
            attacked = [100 * row["attacked"][name] for row in report.rows]
            ax.plot(budgets, attacked, "o", label=f"under {name}")
    return finish(
        ax,
        norm=report.norm,
        title=f"Certified accuracy ({SYMBOLS[report.norm]}, {report.method}), n = {report.n}",
        what=f"accuracy, % of {report.n} images",
        reach=[*budgets, 0.9 * eps[-1]],
    )


def by_class(report: "ClassReport", ax: Any = None) -> Any:
    """Draw the clean and the certified accuracy of each class as bars.

    Args:
        report: :class:`zoo.evaluation.ClassReport`.
        ax: as for ``report.plot``.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
    whole = report.report
    places = range(len(report.names))
    ax.bar(places, _percent(report.clean), width=0.9, color="lightgray", label="clean")
    budgets = sorted(report.rows, key=lambda row: float(Epsilon(row["eps"])))
    for index, row in enumerate(budgets):
        # Narrower and darker bars for larger budgets, in front of each other.
        shade = 0.35 + 0.6 * (index + 1) / max(1, len(budgets))
        ax.bar(
            places,
            _percent(row["certified"]),
            width=0.8 * (1 - index / (len(budgets) + 1)),
            color=(0.1, 0.35, 0.6, shade),
            label=f"certified, {row['eps']}",
        )
    _name_classes(ax, "x", report.names)
    ax.set_xlim(-0.6, len(report.names) - 0.4)
    ax.set_ylim(0, 101)
    ax.set_ylabel("accuracy, % of the images of a class")
    ax.set_title(f"By class ({SYMBOLS[whole.norm]}, {whole.method}), n = {whole.n}")
    ax.grid(alpha=0.3, axis="y")
    ax.legend()
    return ax


def confusion(report: "ClassReport", eps: Epsilon, ax: Any = None) -> Any:
    """Draw which classes the images of each class may become within a budget.

    Args:
        report: :class:`zoo.evaluation.ClassReport`.
        eps: the budget.
        ax: as for ``report.plot``.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
    image = ax.imshow(_percent(report.confusion(eps)), vmin=0, vmax=100, cmap="Blues")
    _name_classes(ax, "x", report.names)
    _name_classes(ax, "y", report.names)
    ax.set_xlabel("class that it may become")
    ax.set_ylabel("class of the image")
    ax.set_title(f"Possible within {SYMBOLS[report.report.norm]} {eps}")
    ax.figure.colorbar(image, ax=ax, label="% of the images of a class")
    return ax


def _percent(shares: Any) -> Any:
    return 100 * np.nan_to_num(np.asarray(shares, np.float64))


def _name_classes(ax: Any, axis: str, names: Sequence[str]) -> None:
    size = "small" if len(names) <= 12 else "xx-small"
    ticks = range(len(names))
    if axis == "x":
        turned = 90 if max(map(len, names)) > 3 else 0
        ax.set_xticks(ticks, names, rotation=turned, fontsize=size)
    else:
        ax.set_yticks(ticks, names, fontsize=size)


def comparison(reports: "Mapping[str, RobustnessReport]", ax: Any = None) -> Any:
    """Draw the certified accuracies of several models, with the same colour under attack.

    Args:
        reports: dictionary from the name of a model to its report; all of one norm.
        ax: as for ``report.plot``.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
    reach = []
    for name, report in reports.items():
        eps, accuracy = report.certificate.curve(report.labels)
        (line,) = ax.step(eps, 100 * accuracy, where="post", label=name)
        budgets = [float(Epsilon(row["eps"])) for row in report.rows]
        attacked = [worst_attacked(row) for row in report.rows]
        if None not in attacked:
            points = [100 * share for share in attacked if share is not None]
            ax.plot(budgets, points, "o", color=line.get_color())
        reach += [*budgets, 0.9 * eps[-1]]
    first = next(iter(reports.values()))
    return finish(
        ax,
        norm=first.norm,
        title=f"Certified accuracy ({SYMBOLS[first.norm]}), n = {first.n}",
        what=f"accuracy, % of {first.n} images",
        reach=reach,
    )


def worst_attacked(row: Mapping[str, Any]) -> float | None:
    """The accuracy under all attacks of a report's row; None if there were none."""
    attacked = row["attacked"]
    return attacked.get("all", next(iter(attacked.values()), None))
