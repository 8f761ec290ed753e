"""Matplotlib axes for curves of accuracy over the perturbation budget."""

from typing import Any

import numpy as np

from zoo.typing import ArrayLike
from zoo.utils.norms import SYMBOLS


def axes_or_new(ax: Any) -> Any:
    """The axes that were given, or those of a new pyplot figure, which a notebook shows.

    Args:
        ax: :class:`matplotlib.axes.Axes`, or None.

    Raises:
        TypeError: if it is something else.
    """
    from matplotlib.axes import Axes

    if ax is None:
        from matplotlib import pyplot

        return pyplot.subplots(figsize=(6, 4), layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise TypeError(
            f"ax must be matplotlib axes or None, got {ax!r}; "
            "plot().figure.savefig(path) writes an image file"
        )
    return ax


def finish(ax: Any, *, norm: str, title: str, what: str, reach: ArrayLike) -> Any:
    """Label axes whose horizontal one is a budget and whose vertical one is a percentage.

    Args:
        ax: :class:`matplotlib.axes.Axes` with the curves.
        norm: norm of the budget.
        title: title of the axes.
        what: label of the vertical axis.
        reach: budgets that have to be in sight.

    Returns:
        The axes.
    """
    furthest = 1.15 * float(np.max(reach, initial=0.0))
    ax.set_xlim(0, furthest or 1.0)
    ax.set_ylim(0, 101)
    ax.set_xlabel(f"perturbation budget ({SYMBOLS[norm]})")
    ax.set_ylabel(what)
    ax.set_title(title)
    ax.grid(alpha=0.3)
    ax.legend()
    return ax
