"""Plots of a robustness report."""

import pathlib
from typing import TYPE_CHECKING

import numpy as np

from zoo.typing import Path
from zoo.utils.whole_file import require_writable

if TYPE_CHECKING:
    from zoo.evaluation.report import RobustnessReport

#: Endings of the names of image files; each stands for a format that matplotlib writes.
FORMATS = ("eps", "jpeg", "jpg", "pdf", "png", "ps", "svg", "tif", "tiff", "webp")


def require_drawable(path: Path) -> None:
    """Raise unless :func:`certified_accuracy` can draw into this file.

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


def certified_accuracy(report: "RobustnessReport", path: Path) -> None:
    """Draw the certified accuracy against the budget, and the accuracy under attack as points.

    Args:
        report: :class:`zoo.evaluation.RobustnessReport`.
        path: image file; the ending of its name chooses the format.
    """
    from matplotlib.figure import Figure

    from zoo.epsilon import Epsilon

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    eps, accuracy = report.certificate.curve(report.labels)
    axes.step(eps, 100 * accuracy, where="post", label=f"certified ({report.method})")
    axes.axhline(100 * report.clean, linestyle=":", color="gray", label="clean")
    budgets = np.array([float(Epsilon(row["eps"])) for row in report.rows])
    for name in report.rows[0]["attacked"] if report.rows else []:
        if name != "all":
            attacked = [100 * row["attacked"][name] for row in report.rows]
            axes.plot(budgets, attacked, "o", label=f"under {name}")
    axes.set_xlim(0, 1.15 * max([*budgets, eps[-1] * 0.9]))
    axes.set_ylim(0, 101)
    axes.set_xlabel(f"perturbation budget ({'ℓ∞' if report.norm == 'linf' else 'ℓ2'})")
    axes.set_ylabel(f"accuracy, % of {report.n} images")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)
