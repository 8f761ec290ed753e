"""Clean, attacked and certified accuracy in one report."""

import dataclasses
from typing import Any

import numpy as np

from zoo.certificates.certificate import Certificate
from zoo.evaluation.outcome import Outcome, require_sound
from zoo.typing import Array, Path
from zoo.utils.json_text import json_text, json_value


@dataclasses.dataclass(frozen=True, eq=False)
class RobustnessReport:
    """Clean, attacked and certified accuracy of a model; it prints as a table.

    Attributes:
        n: number of images.
        norm, method: norm and method of the certificate.
        clean: accuracy on the unchanged images; NaN if there are no images.
        rows: list with a dictionary ``{eps, attacked, certified}`` for each budget. ``attacked``
            has the accuracy under each attack; with several attacks, ``"all"`` is the fraction of
            images that none of them fooled.
        certificate: the :class:`zoo.certificates.Certificate` of the images.
        labels: int64 array ``(n,)``.
        notes: what a reader of the numbers has to know, such as a loss that was replaced.
        nearest_over_radius: median of the nearest known flip over the certified radius, of all
            images with a radius; ``inf`` if no flip is known for half of them, NaN if there is no
            radius, and None unless the flips were asked for.
    """

    n: int
    norm: str
    method: str
    clean: float
    rows: list[dict[str, Any]]
    certificate: Certificate
    labels: Array
    notes: tuple[str, ...] = ()
    nearest_over_radius: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The numbers in JSON's types, None in place of NaN."""
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

    def plot(self, path: Path) -> None:
        """Draw the certified-accuracy curve, with the attacks as points, into an image file."""
        from zoo.evaluation.plots import certified_accuracy

        certified_accuracy(self, path)

    def __str__(self) -> str:
        attacks = list(self.rows[0]["attacked"]) if self.rows else []
        header = ["eps", "clean", *attacks, "certified"]
        lines = [
            [row["eps"], self.clean, *row["attacked"].values(), row["certified"]]
            for row in self.rows
        ]
        cells = [[v if isinstance(v, str) else f"{100 * v:.2f}%" for v in row] for row in lines]
        widths = [max(len(row[i]) for row in [header, *cells]) for i in range(len(header))]
        table = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            for row in [header, *cells]
        ]
        first = f"n = {self.n}, {self.norm}, certificate: {self.method}"
        last = [*self.notes]
        if self.nearest_over_radius is not None:
            last.insert(0, f"nearest known flip / radius, median: {self.nearest_over_radius:.3g}")
        return "\n".join([first, *table, *last])


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
