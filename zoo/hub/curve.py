"""The certified-accuracy curve of a checkpoint, stored in ``curve.json`` beside its weights."""

import bisect
import dataclasses
import json
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.certificates.certificate import Certificate
from zoo.epsilon import Epsilon
from zoo.hub.checkpoint import CURVE
from zoo.typing import Array, Budget, Path
from zoo.utils.whole_file import write_whole

if TYPE_CHECKING:
    from zoo.hub.records import Record

#: The largest number of classes for which the curve has accuracies by class.
MOST_CLASSES = 43
# Number of quantiles of the radii, which become budgets of the curve.
_QUANTILES = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class ByClass:
    """Numbers of test images by class, at one budget.

    Attributes:
        eps: budget as text, such as ``"0.1"`` or ``"8/255"``.
        n: number of images of each class.
        clean: how many of them are classified correctly.
        certified: how many of them are classified correctly and certified at the budget.
    """

    eps: str
    n: list[int]
    clean: list[int]
    certified: list[int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """Certified accuracy as a function of the budget, from the radii of the test images.

    The curve has the number of certified images at a few hundred budgets: those that were measured
    for the checkpoint's record, and quantiles of the radii of the correctly classified images.
    Between two budgets the curve has the value of the larger one, because an image that is
    certified at one budget is certified at every smaller one. The curve is therefore never above
    what was measured, and equals it at the stored budgets.

    Attributes:
        norm: ``"linf"`` or ``"l2"``.
        method: name of the certificate.
        n: number of test images.
        clean: how many of them are classified correctly.
        budgets: ascending budgets as text; the first is ``"0"``.
        certified: how many of the images are classified correctly and certified, at each budget.
        by_class: :class:`ByClass`, or None for more than :data:`MOST_CLASSES` classes.
        weights: sha256 of the weights file that was measured.
    """

    norm: str
    method: str
    n: int
    clean: int
    budgets: list[str]
    certified: list[int]
    by_class: ByClass | None
    weights: str

    @classmethod
    def of(
        cls, certificate: Certificate, labels: Array, *, budgets: list[str], weights: str
    ) -> "Curve":
        """The curve of a certificate.

        Args:
            certificate: :class:`zoo.certificates.Certificate` of at least one test image.
            labels: int array ``(n,)``, the true classes.
            budgets: budgets that were measured, as text; the curve is exact at each of them.
            weights: sha256 of the weights file.

        Returns:
            :class:`Curve`.
        """
        right = certificate.prediction == labels
        radii = certificate.radius[right & (certificate.radius > 0)].astype(np.float64)
        texts = ["0", *budgets]
        if len(radii):
            quantiles = np.quantile(radii, np.linspace(0, 1, _QUANTILES))
            texts += [f"{radius:.5g}" for radius in quantiles]
            texts.append(f"{1.0001 * radii.max():.5g}")  # above every radius, so it certifies none
        chosen = {Epsilon(text).exact: text for text in reversed(texts)}
        ascending = [chosen[exact] for exact in sorted(chosen)]
        # The counts are exact, however the quantiles were rounded.
        counts = [int(np.sum(right & certificate.certified(eps))) for eps in ascending]
        return cls(
            norm=certificate.norm,
            method=certificate.method,
            n=len(certificate),
            clean=int(np.sum(right)),
            budgets=ascending,
            certified=counts,
            by_class=_by_class(certificate, labels, _telling(budgets, certificate, right)),
            weights=weights,
        )

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> "Curve":
        """A curve from a dictionary of JSON's types, as :meth:`to_dict` returns it."""
        by_class = entry["by_class"]
        return cls(**{**entry, "by_class": None if by_class is None else ByClass(**by_class)})

    def to_dict(self) -> dict[str, Any]:
        """The curve as a dictionary of JSON's types."""
        return dataclasses.asdict(self)

    def accuracy(self, eps: Budget) -> float:
        """Certified accuracy at any budget: never more than was measured.

        Args:
            eps: budget in units of the [0, 1] image: a number, or a string such as ``"8/255"``.

        Returns:
            Fraction of the images; 0 beyond the largest radius.

        Examples:
            >>> import zoo
            >>> record = zoo.info("linf-dist-digits")
            >>> record.curve.accuracy("0.1") == record.metrics.certified[2].accuracy
            True
        """
        exact = [Epsilon(text).exact for text in self.budgets]
        place = bisect.bisect_left(exact, Epsilon(eps).exact)
        return self.certified[place] / self.n if place < len(exact) else 0.0

    def save(self, path: Path) -> None:
        """Write the curve into a JSON file, completely or not at all."""
        lines = [f' "{key}": {json.dumps(value)}' for key, value in self.to_dict().items()]
        write_whole(path, "{\n" + ",\n".join(lines) + "\n}\n")


def curve_of(record: "Record", folder: Path | None = None) -> Curve | None:
    """The stored curve of a checkpoint.

    Args:
        record: :class:`zoo.hub.records.Record` of the checkpoint.
        folder: folder of the checkpoint; None for the one that ships with the package.

    Returns:
        :class:`Curve`; None if none is stored here, or if it is that of other weights.

    Raises:
        ValueError: if the stored file is no curve, naming it.
    """
    from zoo.hub import catalog

    path = pathlib.Path(folder or catalog.WEIGHTS / record.name) / CURVE
    if not path.is_file():
        return None
    try:
        curve = Curve.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no certified-accuracy curve: {error}") from error
    return curve if curve.weights in {file.sha256 for file in record.files} else None


def _telling(budgets: list[str], certificate: Certificate, right: Array) -> str:
    """The largest budget at which half of the correct images are certified, else the smallest."""
    ascending = sorted(budgets, key=lambda eps: float(Epsilon(eps)))
    half = [
        eps for eps in ascending if 2 * np.sum(right & certificate.certified(eps)) >= np.sum(right)
    ]
    return (half or ascending[:1])[-1]


def _by_class(certificate: Certificate, labels: Array, eps: str) -> ByClass | None:
    classes = certificate.num_classes
    if classes > MOST_CLASSES:
        return None
    right = certificate.prediction == labels

    def count(chosen: Array) -> list[int]:
        return np.bincount(np.asarray(labels)[chosen], minlength=classes).tolist()

    return ByClass(
        eps=eps,
        n=count(np.ones(len(right), bool)),
        clean=count(right),
        certified=count(right & certificate.certified(eps)),
    )
