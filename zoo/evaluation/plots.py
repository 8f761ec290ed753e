"""Plots of robustness reports."""

import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from zoo.epsilon import Epsilon
from zoo.typing import Path
from zoo.utils.axes import axes_or_new, finish, symbol
from zoo.utils.whole_file import require_writable

if TYPE_CHECKING:
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
    if ending and ending not in FORMATS:  # without an ending, matplotlib appends one
        raise ValueError(f"cannot draw {path}: the ending must be one of {', '.join(FORMATS)}")


def draw(path: Path, plot: Callable[[Any], Any]) -> None:
    """Draw into an image file, without a window and without pyplot.

    Args:
        path: image file; the ending of its name chooses the format.
        plot: function that draws into the axes that it is given, such as ``report.plot``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    plot(figure.add_subplot())
    figure.savefig(path, dpi=150)


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
        title=f"Certified accuracy ({symbol(report.norm)}, {report.method}), n = {report.n}",
        what=f"accuracy, % of {report.n} images",
        reach=[*budgets, 0.9 * eps[-1]],
    )


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
        title=f"Certified accuracy ({symbol(first.norm)}), n = {first.n}",
        what=f"accuracy, % of {first.n} images",
        reach=reach,
    )


def worst_attacked(row: Mapping[str, Any]) -> float | None:
    """The accuracy under all attacks of a report's row; None if there were none."""
    attacked = row["attacked"]
    return attacked.get("all", next(iter(attacked.values()), None))
