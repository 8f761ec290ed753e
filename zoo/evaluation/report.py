"""Clean, attacked and certified accuracy in one report."""

import dataclasses
import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.certificates.certificate import Certificate
from zoo.epsilon import Epsilon
from zoo.evaluation.by_class import ClassReport, class_report
from zoo.evaluation.outcome import Outcome, require_sound
from zoo.typing import Array
from zoo.utils.json_text import json_text, json_value
from zoo.utils.table import Column, Table, percent, yes_or_no


@dataclasses.dataclass(frozen=True, eq=False)
class RobustnessReport:
    """Clean, attacked and certified accuracy of a model; it prints as a table.

    A notebook shows the table, too.

    Attributes:
        n: number of images.
        norm, method: norm and method of the certificate.
        clean: accuracy on the unchanged images; NaN if there are no images.
        rows: list with a dictionary ``{eps, attacked, certified}`` for each budget. ``attacked``
            has the accuracy under each attack; with several attacks, ``"all"`` is the fraction of
            images that none of them fooled.
        certificate: the :class:`zoo.certificates.Certificate` of the images.
        labels: int64 array ``(n,)``.
        fooled: per budget a pair of the :class:`zoo.epsilon.Epsilon` and a dictionary of attack to
            bool array ``(n,)``: where the attacked image is classified other than its label.
        notes: what a reader of the numbers has to know, such as a loss that was replaced.
        nearest_over_radius: the median, over all images with a positive radius, of the distance of
            the nearest known misclassified image divided by the radius; ``inf`` if no such image
            is known for half of them, NaN if no radius is positive, and None unless
            ``nearest=True`` was given.
    """

    n: int
    norm: str
    method: str
    clean: float
    rows: list[dict[str, Any]]
    certificate: Certificate
    labels: Array
    fooled: list[tuple[Epsilon, dict[str, Array]]] = dataclasses.field(default_factory=list)
    notes: tuple[str, ...] = ()
    nearest_over_radius: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The numbers in JSON's types, with None in place of NaN and of an infinite ratio."""
        numbers = {
            "n": self.n,
            "norm": self.norm,
            "method": self.method,
            "clean": json_value(self.clean),
            "rows": json_value(self.rows),
        }
        if self.nearest_over_radius is not None:
            known = np.isfinite(self.nearest_over_radius)
            numbers["nearest_over_radius"] = self.nearest_over_radius if known else None
        return {**numbers, "notes": list(self.notes)} if self.notes else numbers

    def to_json(self) -> str:
        """The numbers as JSON text."""
        return json_text(self.to_dict(), indent=1)

    def plot(self, ax: Any = None) -> Any:
        """Draw the certified-accuracy curve, with the accuracies under attack as points.

        Args:
            ax: :class:`matplotlib.axes.Axes` to draw into; None makes a new pyplot figure, which a
                notebook shows.

        Returns:
            The axes. ``report.plot().figure.savefig(path)`` writes an image file.
        """
        from zoo.evaluation.plots import certified_accuracy

        return certified_accuracy(self, ax)

    def by_class(self, class_names: Sequence[str] | None = None) -> ClassReport:
        """The accuracies for each class, and which classes its images may become.

        For two classes there are sensitivity and specificity, too.

        Args:
            class_names: names of all classes, in their order, such as
                ``zoo.data.DATASETS["gtsrb"].class_names``; None for their numbers.

        Returns:
            :class:`ClassReport`.

        Raises:
            ValueError: if there are not as many names as classes.

        Examples:
            >>> import zoo
            >>> model, test = zoo.load("lc-lmt-digits"), zoo.data.load("digits").take(50)
            >>> report = zoo.evaluate(model, test.images, test.labels, eps=[0.1], attacks="fgsm")
            >>> print(report.by_class().table().head(2))                     # doctest: +ELLIPSIS
            class  n    clean  fgsm 0.1  certified 0.1
            0      ...
            1      ...
            >>> report.by_class().confusion(0.1).shape
            (10, 10)
        """
        return class_report(self, class_names)

    def plot_by_class(self, class_names: Sequence[str] | None = None, ax: Any = None) -> Any:
        """Draw the clean and the certified accuracy of each class.

        Args:
            class_names: as for :meth:`by_class`.
            ax: as for :meth:`plot`.

        Returns:
            The axes.
        """
        return self.by_class(class_names).plot(ax)

    def table(self) -> Table:
        """A table of the accuracies with a row for each budget."""
        attacks = list(self.rows[0]["attacked"]) if self.rows else []
        columns = [
            Column("eps", [row["eps"] for row in self.rows]),
            Column("clean", [self.clean] * len(self.rows), percent),
            *(
                Column(attack, [row["attacked"][attack] for row in self.rows], percent)
                for attack in attacks
            ),
            Column("certified", [row["certified"] for row in self.rows], percent),
        ]
        return Table(columns)

    def per_image(self) -> Table:
        """A table with a row for each image: its certificate, and whether an attack fooled it."""
        budgets = [budget for budget, _ in self.fooled]
        columns = [
            Column(f"fooled by {attack} at {budget}", fooled, yes_or_no)
            for budget, by_attack in self.fooled
            for attack, fooled in by_attack.items()
        ]
        return Table([*self.certificate.table(self.labels, budgets).columns, *columns])

    def to_frame(self) -> Any:
        """The table of :meth:`table` as a ``pandas.DataFrame``, which needs pandas.

        ``report.per_image().to_frame()`` has a row for each image.
        """
        return self.table().to_frame()

    def to_latex(self) -> str:
        r"""The table of :meth:`table` in LaTeX, which needs ``\usepackage{booktabs}``."""
        return self.table().to_latex()

    def __str__(self) -> str:
        return "\n".join([self._heading(), str(self.table()), *self._remarks()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        remarks = "".join(f"<p>{html.escape(remark)}</p>" for remark in self._remarks())
        return f"<p>{html.escape(self._heading())}</p>{self.table().to_html()}{remarks}"

    def _heading(self) -> str:
        return f"n = {self.n}, {self.norm}, certificate: {self.method}"

    def _remarks(self) -> list[str]:
        if self.nearest_over_radius is None:
            return [*self.notes]
        ratio = f"nearest known flip / radius, median: {self.nearest_over_radius:.3g}"
        return [ratio, *self.notes]


def report_of(outcome: Outcome) -> RobustnessReport:
    """Compute the accuracies of an outcome.

    Args:
        outcome: :class:`Outcome` of the whole set.

    Returns:
        :class:`RobustnessReport`.

    Raises:
        zoo.SoundnessError: if an attack changed a prediction within its certified radius, naming
            the image's index.
    """
    certificate, y = outcome.certificate, outcome.labels
    right = certificate.prediction == y
    rows = []
    for budget, by_attack in outcome.fooled:
        withstood, attacked = right.copy(), dict[str, float]()
        for name, fooled in by_attack.items():
            require_sound(certificate, y, fooled, budget, name)
            attacked[name] = _mean(right & ~fooled)
            withstood &= ~fooled
        if len(attacked) > 1:
            attacked["all"] = _mean(withstood)
        certified = certificate.accuracy(y, budget)
        rows.append({"eps": str(budget), "attacked": attacked, "certified": certified})
    return RobustnessReport(
        n=len(y),
        norm=certificate.norm,
        method=certificate.method,
        clean=_mean(right),
        rows=rows,
        certificate=certificate,
        labels=y,
        fooled=outcome.fooled,
        notes=outcome.notes,
        nearest_over_radius=_nearest_over_radius(certificate) if outcome.nearest else None,
    )


def _nearest_over_radius(certificate: Certificate) -> float:
    proved = certificate.radius > 0
    if certificate.nearest is None or not proved.any():
        return float("nan")
    ratio = certificate.nearest[proved].astype(np.float64) / certificate.radius[proved]
    # The middle one, or the upper of the two: a mean of two would be NaN for two infinities.
    return float(np.sort(ratio)[len(ratio) // 2])


def _mean(mask: Array) -> float:
    return float(np.mean(mask)) if len(mask) else float("nan")
