"""The accuracies of a report for each class, and which classes can become which."""

import dataclasses
import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.epsilon import Epsilon
from zoo.typing import Array, Budget
from zoo.utils.json_text import json_value
from zoo.utils.table import Column, Table, percent

if TYPE_CHECKING:
    from zoo.evaluation.report import RobustnessReport


@dataclasses.dataclass(frozen=True, eq=False)
class ClassReport:
    """Clean, attacked and certified accuracy of a model for each class; it prints as a table.

    A notebook shows the table, too. An accuracy is NaN for a class without images.

    Attributes:
        names: names of the classes, in their order.
        counts: int array ``(classes,)``, the number of images of each class.
        clean: float array ``(classes,)``, the accuracy on the unchanged images of each class.
        rows: list with a dictionary ``{eps, attacked, certified}`` for each budget, as of
            :class:`RobustnessReport`, with arrays ``(classes,)`` in place of the accuracies.
        report: the :class:`RobustnessReport` of all classes together.
    """

    names: tuple[str, ...]
    counts: Array
    clean: Array
    rows: list[dict[str, Any]]
    report: "RobustnessReport"

    def confusion(self, eps: Budget) -> Array:
        """Which classes the images of each class may become within a budget.

        Args:
            eps: budget in units of the [0, 1] image: a number, or a string such as ``"8/255"``.

        Returns:
            float array ``(classes, classes)``. Entry ``[a, b]`` is the share of the images of class
            a that are classified as b, or for which the certificate does not exclude that an image
            in [0, 1] within the budget is. A row can therefore sum up to more than 1. NaN in the
            row of a class without images.

        Raises:
            ValueError: if the certificate has no ``per_class``; evaluate with ``per_class=True``.
        """
        possible = self.report.certificate.possible(eps)
        return np.stack([_mean(possible[self.report.labels == c]) for c in range(len(self.names))])

    def confusions(self, eps: Budget) -> Table:
        """A table of the pairs of classes of :meth:`confusion`, the largest share first.

        Args:
            eps: budget, as for :meth:`confusion`.

        Returns:
            :class:`zoo.utils.table.Table` with a row for each pair of a class and another one that
            some of its images may become.

        Raises:
            ValueError: as :meth:`confusion`.
        """
        shares = np.nan_to_num(self.confusion(eps))
        np.fill_diagonal(shares, 0.0)
        order = np.argsort(-shares, axis=None, kind="stable")
        pairs = [np.unravel_index(i, shares.shape) for i in order if shares.flat[i] > 0]
        return Table(
            [
                Column("class", [self.names[a] for a, _ in pairs], left=True),
                Column("may become", [self.names[b] for _, b in pairs], left=True),
                Column("images", [shares[pair] for pair in pairs], percent),
            ]
        )

    def table(self) -> Table:
        """A table with a row for each class."""
        columns = [
            Column("class", self.names, left=True),
            Column("n", self.counts),
            Column("clean", _or_none(self.clean), percent),
        ]
        for row in self.rows:
            columns += [
                Column(f"{name} {row['eps']}", _or_none(attacked), percent)
                for name, attacked in row["attacked"].items()
            ]
            columns.append(Column(f"certified {row['eps']}", _or_none(row["certified"]), percent))
        return Table(columns)

    def balanced(self) -> Table:
        """A table of the accuracies in which every class counts alike.

        Returns:
            :class:`zoo.utils.table.Table` with a row for the unchanged images and one for each
            attack and each certificate at each budget. ``balanced`` is the mean of the accuracies
            of all classes that have images. For two classes, ``sensitivity`` is the accuracy on
            the images of class 1 and ``specificity`` that on those of class 0; certified values are
            lower bounds of what any attack leaves.
        """
        measures: list[tuple[str, str | None, Array]] = [("clean", None, self.clean)]
        for row in self.rows:
            measures += [(f"under {name}", row["eps"], a) for name, a in row["attacked"].items()]
            measures.append(("certified", row["eps"], row["certified"]))
        accuracies = np.stack([accuracy for *_, accuracy in measures])
        some = self.counts > 0
        balanced = accuracies[:, some].mean(axis=1) if some.any() else accuracies[:, 0]
        columns = [
            Column("accuracy", [name for name, *_ in measures], left=True),
            Column("eps", [eps for _, eps, _ in measures]),
            Column("balanced", _or_none(balanced), percent),
        ]
        if len(self.names) == 2:
            columns += [
                Column("sensitivity", _or_none(accuracies[:, 1]), percent),
                Column("specificity", _or_none(accuracies[:, 0]), percent),
            ]
        return Table(columns)

    def plot(self, ax: Any = None) -> Any:
        """Draw the accuracies of each class as bars: certified, in front of the clean ones.

        Args:
            ax: :class:`matplotlib.axes.Axes` to draw into; None makes a new pyplot figure, which a
                notebook shows.

        Returns:
            The axes.
        """
        from zoo.evaluation.plots import by_class

        return by_class(self, ax)

    def plot_confusion(self, eps: Budget, ax: Any = None) -> Any:
        """Draw :meth:`confusion` as an image with a row for each class.

        Args:
            eps: budget, as for :meth:`confusion`.
            ax: as for :meth:`plot`.

        Returns:
            The axes.

        Raises:
            ValueError: as :meth:`confusion`.
        """
        from zoo.evaluation.plots import confusion

        return confusion(self, Epsilon(eps), ax)

    def to_dict(self) -> dict[str, Any]:
        """The accuracies of each class, and which classes it may become, in JSON's types.

        ``confusion`` has a matrix for each budget, if the certificate has ``per_class``.
        """
        found = {
            "classes": list(self.names),
            "n": self.counts.tolist(),
            "clean": _or_none(self.clean),
            "rows": [
                {
                    "eps": row["eps"],
                    "attacked": {name: _or_none(a) for name, a in row["attacked"].items()},
                    "certified": _or_none(row["certified"]),
                }
                for row in self.rows
            ],
        }
        if self.report.certificate.per_class is not None:
            found["confusion"] = [
                {"eps": row["eps"], "shares": [_or_none(r) for r in self.confusion(row["eps"])]}
                for row in self.rows
            ]
        return json_value(found)

    def to_frame(self) -> Any:
        """The table of :meth:`table` as a ``pandas.DataFrame``, which needs pandas."""
        return self.table().to_frame()

    def to_latex(self) -> str:
        r"""The table of :meth:`table` in LaTeX, which needs ``\usepackage{booktabs}``."""
        return self.table().to_latex()

    def __str__(self) -> str:
        return "\n".join([self._heading(), str(self.table()), "", str(self.balanced())])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        tables = self.table().to_html() + self.balanced().to_html()
        return f"<p>{html.escape(self._heading())}</p>{tables}"

    def _heading(self) -> str:
        report = self.report
        return f"n = {report.n}, {report.norm}, certificate: {report.method}, by class"


def class_report(
    report: "RobustnessReport", class_names: Sequence[str] | None = None
) -> ClassReport:
    """The accuracies of a report for each class.

    Args:
        report: :class:`RobustnessReport`.
        class_names: names of all classes, in their order; None for their numbers.

    Returns:
        :class:`ClassReport`.

    Raises:
        ValueError: if there are not as many names as classes.
    """
    certificate, labels = report.certificate, report.labels
    count = certificate.num_classes
    names = tuple(map(str, range(count) if class_names is None else class_names))
    if len(names) != count:
        raise ValueError(f"class_names must be {count} names, got {len(names)}")
    members = [labels == c for c in range(count)]
    right = certificate.prediction == labels

    def of_classes(mask: Array) -> Array:
        return np.array([_mean(mask[chosen]) for chosen in members])

    rows = []
    for budget, by_attack in report.fooled:
        attacked = {name: of_classes(right & ~fooled) for name, fooled in by_attack.items()}
        if len(by_attack) > 1:
            attacked["all"] = of_classes(right & ~np.any(list(by_attack.values()), axis=0))
        certified = of_classes(right & certificate.certified(budget))
        rows.append({"eps": str(budget), "attacked": attacked, "certified": certified})
    counts = np.array([int(chosen.sum()) for chosen in members])
    return ClassReport(names, counts, of_classes(right), rows, report)


def _mean(mask: Array) -> Any:
    """The means of the columns of a bool array; NaN if it has no rows."""
    return mask.mean(axis=0) if len(mask) else np.full(mask.shape[1:], np.nan)


def _or_none(values: Any) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
