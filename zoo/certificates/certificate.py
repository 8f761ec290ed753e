"""The results of ``certify``."""

import dataclasses
from typing import Any

import numpy as np

from zoo.epsilon import Epsilon
from zoo.errors import SoundnessError
from zoo.typing import Array, ArrayLike, Budget
from zoo.utils import checks


@dataclasses.dataclass(frozen=True, eq=False)
class CertifiedBatch:
    """The result of :meth:`zoo.models.CertifiedModel.certified_radius` for one batch.

    Attributes:
        logits: float32 array ``(n, classes)``.
        radius: float32 array ``(n,)``, rounded down, in units of the [0, 1] image.
        nearest: float array ``(n,)`` or None, as in :class:`Certificate`.
    """

    logits: Array
    radius: Array
    nearest: Array | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Certificate:
    """A proof, per image, of how far an attacker must go to change the prediction.

    Every image in [0, 1] at a distance below ``radius[i]`` from image ``i`` is classified as
    ``prediction[i]``. This says nothing about whether the prediction is right. It holds for the
    model as float32 computes it by sums of products in any order, but not for convolutions by
    Winograd's or Fourier's transform, which a GPU's library may choose.

    Attributes:
        prediction: int64 array ``(n,)``, predicted classes.
        radius: float32 array ``(n,)``, in units of the [0, 1] image, rounded down; 0 if nothing is
            proved.
        margin: float32 array ``(n,)``, logit of the prediction minus the next largest.
        norm: norm of the perturbation, ``"linf"`` or ``"l2"``.
        method: how the radius was found, for example ``"interval"``.
        num_classes: number of classes the model knows.
        nearest: float32 array ``(n,)``, where the method tells: the distance of an input, not
            always within [0, 1], that the certificate takes for one of another class; ``inf`` where
            it met none. Of ``certify(…, nearest=True)``, whatever the method: the distance of the
            nearest known image in [0, 1] that the model classifies otherwise. None otherwise.
        labels: array of the images' labels as the data set gave them that was certified; None if
            the images came without labels.

    Example:

    >>> import numpy as np
    >>> from zoo.certificates import Certificate
    >>> cert = Certificate(np.array([3, 1]), np.array([0.2, 0.05], "float32"),
    ...                    np.array([0.4, 0.1], "float32"), "linf", "lipschitz", 10)
    >>> cert.certified(0.1).tolist(), cert.accuracy([3, 1], eps=0.1)
    ([True, False], 0.5)
    """

    prediction: Array
    radius: Array
    margin: Array
    norm: str
    method: str
    num_classes: int
    nearest: Array | None = None
    labels: Array | None = None

    def __len__(self) -> int:
        return len(self.prediction)

    def __repr__(self) -> str:
        median = f"{np.median(self.radius):.4g}" if len(self) else "-"
        return f"Certificate(n={len(self)}, {self.norm}, {self.method}, median radius {median})"

    def certified(self, eps: Budget) -> Array:
        """Whether the prediction provably holds for every image in [0, 1] within ``eps``.

        Args:
            eps: budget in units of the [0, 1] image: a number, or a string such as ``"8/255"``.

        Returns:
            bool array ``(n,)``.
        """
        return self.radius > np.float32(Epsilon(eps).above)

    def accuracy(self, y: ArrayLike | None = None, eps: Budget | None = None) -> float:
        """Fraction of images both classified as ``y`` and certified at ``eps``.

        It is a lower bound of the accuracy under any attack with that budget; NaN for no images.

        Args:
            y: labels ``(n,)`` or ``(n, 1)``, or one-hot rows; None for the certificate's own.
            eps: budget, as for :meth:`certified`.
        """
        y = self._labels(y)
        if eps is None:
            raise ValueError("eps must be given, a number or a string like '8/255'")
        if not len(self):
            return float("nan")
        return float(np.mean((self.prediction == y) & self.certified(eps)))

    def with_nearest(self, distances: ArrayLike) -> "Certificate":
        """The certificate with the distances of images that are classified otherwise.

        Args:
            distances: float array ``(n,)``; ``inf`` where none is known.

        Returns:
            :class:`Certificate`.

        Raises:
            zoo.SoundnessError: if a distance is below its radius, naming the image's index.
        """
        distances = np.asarray(distances, np.float64)
        broken = np.flatnonzero(distances < self.radius)
        if len(broken):
            index = int(broken[0])
            raise SoundnessError(
                f"the certificate is wrong: an image at {self.norm} distance "
                f"{distances[index]:.6g} of image {index} is classified otherwise, whose certified "
                f"radius is {self.radius[index]:.6g} ({len(broken)} images in all). This is a bug "
                "in zoo; please report it"
            )
        # Rounded up, as an upper bound.
        nearest = distances.astype(np.float32)
        nearest = np.where(nearest < distances, np.nextafter(nearest, np.float32(np.inf)), nearest)
        return dataclasses.replace(self, nearest=nearest)

    @property
    def exact(self) -> Array | None:
        """Whether no certificate for unrestricted inputs could have a radius over 1 % larger.

        This is so if ``radius`` and ``nearest``, the lower and the upper bound of the distance to
        another class, meet (as dual and primal values). A bool array ``(n,)``, or None if there is
        no ``nearest``.
        """
        if self.nearest is None:
            return None
        return (self.radius > 0) & (self.nearest <= 1.01 * self.radius)

    def curve(self, y: ArrayLike | None = None) -> tuple[Array, Array]:
        """Certified accuracy as a function of the budget.

        Args:
            y: labels, as for :meth:`accuracy`.

        Returns:
            ``(eps, accuracy)``: float arrays. The accuracy is a right-continuous step function;
            ``eps`` holds 0 and then the budgets at which it changes.
        """
        y = self._labels(y)
        radii = np.sort(self.radius[(self.prediction == y) & (self.radius > 0)].astype(np.float64))
        eps = np.unique(np.concatenate([[0.0], radii]))
        above = len(radii) - np.searchsorted(radii, eps, side="right")
        return eps, above / max(1, len(self))

    def _labels(self, y: ArrayLike | None) -> Array:
        y = self.labels if y is None else y
        if y is None:
            raise ValueError("y must be given, because the certified images had no labels")
        return checks.labels(y, len(self), self.num_classes)

    def to_dict(self) -> dict[str, Any]:
        """The certificate as a dictionary of JSON's types."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.nearest is not None:  # JSON has no infinity
            fields["nearest"] = [float(d) if np.isfinite(d) else None for d in self.nearest]
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in fields.items()}


def round_down(radius: ArrayLike) -> Array:
    """Round non-negative float64 radii down to float32.

    Example:

    >>> from zoo.certificates.certificate import round_down
    >>> float(round_down(0.1)) <= 0.1
    True
    """
    radius = np.asarray(radius, np.float64)
    nearest = radius.astype(np.float32)
    lower = np.nextafter(nearest, np.float32(0))
    return np.where(nearest > radius, lower, nearest)
