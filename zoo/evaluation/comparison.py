"""Several models, measured on the same images, side by side."""

import dataclasses
import html
from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.epsilon import Epsilon
from zoo.evaluation.plots import comparison, worst_attacked
from zoo.evaluation.report import RobustnessReport
from zoo.utils.table import Column, Table, floor_text, percent


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Reports of several models on the same images; it prints as a table, as in a notebook.

    Attributes:
        reports: dictionary from the name of a model to its
            :class:`zoo.evaluation.RobustnessReport`, at least one; all of the same images, norm and
            budgets.

    Raises:
        ValueError: if the reports are of different images, norms or budgets, or there are none.

    Examples:
        >>> import zoo
        >>> test = zoo.data.load("digits").take(100)
        >>> models = {name: zoo.load(name) for name in ("lc-lmt-digits", "l2nnn-digits")}
        >>> compared = zoo.evaluation.Comparison({
        ...     name: zoo.evaluate(model, test.images, test.labels, eps=[0.3, 0.5], attacks=[])
        ...     for name, model in models.items()})
        >>> compared.norm, len(compared.table())
        ('l2', 2)
    """

    reports: Mapping[str, RobustnessReport]

    def __post_init__(self) -> None:
        if not self.reports:
            raise ValueError("there is no report to compare")
        of_all: list[Any] = [
            (report.norm, [row["eps"] for row in report.rows]) for report in self.reports.values()
        ]
        for kind, name in enumerate(("norms", "budgets")):
            if any(found[kind] != of_all[0][kind] for found in of_all):
                raise ValueError(
                    f"reports of different {name} cannot be compared: "
                    + ", ".join(
                        f"{model} has {found[kind]}"
                        for model, found in zip(self.reports, of_all, strict=True)
                    )
                )
        labels = [report.labels for report in self.reports.values()]
        if not all(np.array_equal(labels[0], own) for own in labels):
            raise ValueError("reports of different images cannot be compared")

    @property
    def norm(self) -> str:
        """The norm of the perturbations."""
        return next(iter(self.reports.values())).norm

    def table(self) -> Table:
        """A table with a row for each model, the most robust first.

        The order is that of the certified accuracies at the largest budget, then at the smaller
        ones, then of the median radii.
        """
        ranked = sorted(self.reports, key=self._rank, reverse=True)
        reports = [self.reports[name] for name in ranked]
        columns = [
            Column("model", ranked, left=True),
            Column("method", [report.method for report in reports], left=True),
            Column("clean", [report.clean for report in reports], percent),
            Column("median radius", [_median(report) for report in reports], floor_text),
        ]
        for i, row in enumerate(reports[0].rows):
            rows = [report.rows[i] for report in reports]
            if any(of_model["attacked"] for of_model in rows):
                attacked = [worst_attacked(of_model) for of_model in rows]
                columns.append(Column(f"attacked {row['eps']}", attacked, percent))
            certified = [of_model["certified"] for of_model in rows]
            columns.append(Column(f"certified {row['eps']}", certified, percent))
        return Table(columns)

    def _rank(self, name: str) -> Any:
        report = self.reports[name]
        rows = sorted(report.rows, key=lambda row: float(Epsilon(row["eps"])), reverse=True)
        return [row["certified"] for row in rows], _median(report) or 0.0

    def plot(self, ax: Any = None) -> Any:
        """Draw all certified-accuracy curves into one plot, and the attacks as points.

        Args:
            ax: as for :meth:`zoo.evaluation.RobustnessReport.plot`.

        Returns:
            The axes.
        """
        return comparison(self.reports, ax)

    def to_frame(self) -> Any:
        """The table as a ``pandas.DataFrame``; this needs pandas."""
        return self.table().to_frame()

    def to_latex(self) -> str:
        r"""The table in LaTeX, which needs ``\usepackage{booktabs}``."""
        return self.table().to_latex()

    def __str__(self) -> str:
        return f"{self._heading()}\n{self.table()}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._heading())}</p>{self.table().to_html()}"

    def _heading(self) -> str:
        return f"n = {next(iter(self.reports.values())).n}, {self.norm}"


def _median(report: RobustnessReport) -> float | None:
    certificate = report.certificate
    # A certificate that was decided at given budgets has no radii.
    if not len(certificate.radius) or certificate.decided_at is not None:
        return None
    return float(np.median(certificate.radius))
