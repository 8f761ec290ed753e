"""A certificate as a pure function of logits, which is stored beside an exported model."""

import dataclasses
import math
import zipfile
import zlib

import numpy as np

from zoo.certificates.certificate import per_class_of, round_down
from zoo.certificates.lipschitz import lipschitz_radii, lipschitz_radius, steepness_certificate
from zoo.epsilon import Epsilon
from zoo.typing import Array, ArrayLike, Budget, Numbers, Path
from zoo.utils import checks
from zoo.utils.norms import norm_of
from zoo.utils.pair_distances import pair_distances
from zoo.utils.paths import expanded
from zoo.utils.whole_file import whole_file


@dataclasses.dataclass(frozen=True, eq=False)
class LogitCertificate:
    """The constants from which a Lipschitz certificate computes radii, given logits.

    Attributes:
        norm: norm of the perturbation, ``"linf"`` or ``"l2"``.
        image_shape: ``(height, width, channels)``.
        lipschitz: upper bound of a Lipschitz constant: if there is a ``kernel``, of the features
            that go into the last layer; otherwise of each logit.
        kernel: float32 array ``(features, classes)``, the kernel of the last layer; None if each
            logit is bounded by itself.
        steepness: float64 array ``(classes, classes)``, upper bounds of the Lipschitz constants of
            the differences of logits, which take the place of ``lipschitz`` and ``kernel``; None if
            those two are used.
        mean: what the model subtracts from the pixels: one number, or one for each channel.
        error, error_per_size: float32's error in a logit is at most ``error + error_per_size ·
            ‖x − mean‖₂``. This covers sums of products in any order, but not convolutions by
            Winograd's or Fourier's transform.
        num_classes: number of logits; None if any number is accepted.

    Examples:
        >>> import numpy as np
        >>> from zoo.certificates import LogitCertificate
        >>> certificate = LogitCertificate("linf", (8, 8, 1), lipschitz=1.0)
        >>> certificate.radius(np.array([[1.0, 0.5, 0.0]])).tolist()
        [0.25]
    """

    norm: str
    image_shape: tuple[int, ...]
    lipschitz: float
    kernel: Array | None = None
    mean: Array = dataclasses.field(default_factory=lambda: np.zeros(()))
    error: float = 0.0
    error_per_size: float = 0.0
    num_classes: int | None = None
    steepness: Array | None = None

    def __post_init__(self) -> None:
        # A frozen dataclass can set its own fields only in this way.
        object.__setattr__(self, "norm", norm_of(self.norm))

    def radius(self, logits: ArrayLike, x: ArrayLike | None = None) -> Array:
        """Certified radii.

        Args:
            logits: float32 or float64 array ``(n, classes)``, as the model or its exported program
                computed them.
            x: the images ``(n, height, width, channels)``, floats in [0, 1] or uint8. Their norms
                make the bound of float32's error tighter. None if the images are not at hand.

        Returns:
            float32 array ``(n,)``, rounded down; 0 if nothing is proved.

        Raises:
            TypeError, ValueError: for logits or images of a wrong type or shape; the message says
                what was expected and what was given.
        """
        return self.radii(logits, x)[0]

    def per_class(self, logits: ArrayLike, x: ArrayLike | None = None) -> Array:
        """Certified radii against each class, as ``per_class`` of :class:`zoo.Certificate`.

        Args:
            logits, x: as for :meth:`radius`.

        Returns:
            float32 array ``(n, classes)``, rounded down; ``inf`` for the predicted class.

        Raises:
            TypeError, ValueError: as :meth:`radius`.
        """
        return self.radii(logits, x)[1]

    def radii(self, logits: ArrayLike, x: ArrayLike | None = None) -> tuple[Array, Array]:
        """The results of :meth:`radius` and of :meth:`per_class`, computed together.

        Args:
            logits, x: as for :meth:`radius`.

        Returns:
            ``(radius, per_class)``: float32 arrays ``(n,)`` and ``(n, classes)``.
        """
        logits = np.asarray(logits)
        if logits.dtype not in (np.float32, np.float64):
            raise ValueError(
                f"logits must be float32 or float64, got {logits.dtype}: the certificate does not "
                "account for rounding to this type"
            )
        steepness = self.steepness_of_pairs()
        classes = self.num_classes if steepness is None else len(steepness)
        if logits.ndim != 2 or logits.shape[1] < 2 or classes not in (None, logits.shape[1]):
            raise ValueError(
                f"expected logits (n, {classes or 'classes'}), got shape {logits.shape}"
                + (f"; the model has {classes} classes" if classes else "")
            )
        if x is not None:
            x = checks.images(x, self.image_shape)
            if len(x) != len(logits):
                raise ValueError(f"expected {len(logits)} images, one per row, got {len(x)}")
        if steepness is not None:
            return steepness_certificate(
                logits, steepness, self.image_shape, lambda reach: self._error(logits, x, reach)
            )
        own, error = np.argmax(logits, axis=1), self._error(logits, None, 0.0)
        radius = round_down(lipschitz_radius(logits, self.lipschitz, error))
        return radius, per_class_of(lipschitz_radii(logits, self.lipschitz, error), radius, own)

    def required_gaps(self, eps: Budget) -> Array:
        """By how much a predicted logit must exceed the others for a radius above a budget.

        :meth:`radius` of logits without their images is above ``eps`` where ``f_c − f_j`` exceeds
        entry ``[c, j]`` for the predicted class c and every other class j.

        Args:
            eps: budget in units of the [0, 1] image: a number, or a string such as ``"8/255"``.

        Returns:
            float64 array ``(classes, classes)``; the diagonal has no meaning. ``inf`` where no
            logits are certified.

        Raises:
            ValueError: if the certificate does not know the number of classes.
        """
        budget, steepness = Epsilon(eps).beyond, self.steepness_of_pairs()
        if steepness is None:
            if self.num_classes is None:
                raise ValueError("this certificate does not know the number of classes")
            steepness = np.full((self.num_classes, self.num_classes), 2.0 * self.lipschitz)
        elif budget >= math.sqrt(math.prod(self.image_shape)):
            # No two images in [0, 1] are farther apart than this, and no radius is larger.
            steepness = np.full_like(steepness, np.inf)
        with np.errstate(invalid="ignore", over="ignore"):
            gaps = budget * steepness + 4.0 * self._error(steepness, None, 0.0)
        return np.where(np.isfinite(steepness).all() & np.isfinite(gaps), gaps, np.inf)

    def steepness_of_pairs(self) -> Array | None:
        """The constants of the pairs of classes; None if each logit is bounded by itself."""
        if self.steepness is not None or self.kernel is None:
            return self.steepness
        with np.errstate(invalid="ignore", over="ignore"):
            return self.lipschitz * pair_distances(self.kernel)

    def _error(self, logits: Array, x: Array | None, reach: Numbers) -> Numbers:
        # `size` bounds ‖x − mean‖₂ of the perturbed image, first for any image in [0, 1], then from
        # the given image and the distance `reach`.
        furthest = np.maximum(np.abs(self.mean), np.abs(1.0 - self.mean))
        size = np.linalg.norm(np.broadcast_to(furthest, self.image_shape))
        if x is not None:
            change = np.asarray(x, np.float64) - self.mean
            own = np.linalg.norm(change.reshape(len(logits), change[:1].size), axis=1) + reach
            size = np.minimum(size, own)
        return self.error + self.error_per_size * size

    def save(self, path: Path) -> None:
        """Write the certificate to exactly this path, as an ``.npz`` file without pickled data.

        Args:
            path: path of the file. An existing file is replaced.

        Raises:
            OSError: naming the path and the reason.
        """
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        with whole_file(path) as file:
            np.savez(file, **{k: v for k, v in fields.items() if v is not None})

    @classmethod
    def load(cls, path: Path) -> "LogitCertificate":
        """Read a file that :meth:`save` wrote.

        Args:
            path: path of the file.

        Returns:
            :class:`LogitCertificate`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: naming the file, if it holds no such certificate.
        """
        try:
            with np.load(expanded(path), allow_pickle=False) as file:
                found = dict(file)
            kernel = found.get("kernel")
            return cls(
                norm=str(found["norm"]),
                image_shape=tuple(int(n) for n in found["image_shape"]),
                lipschitz=float(found["lipschitz"]),
                kernel=kernel,
                mean=found["mean"],
                error=float(found["error"]),
                error_per_size=float(found["error_per_size"]),
                num_classes=int(found["num_classes"]) if "num_classes" in found else None,
                steepness=found.get("steepness"),
            )
        except KeyError as error:
            raise ValueError(
                f"{path} holds no certificate of logits: it lacks the entry {error}"
            ) from error
        except (TypeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path} holds no certificate of logits: {error}") from error
