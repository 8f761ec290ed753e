"""A certificate as a pure function of logits: what goes with an exported model."""

import dataclasses
import math
import zipfile

import numpy as np

from zoo.certificates.certificate import round_down
from zoo.certificates.lipschitz import lipschitz_radius, pairwise_radius


@dataclasses.dataclass(frozen=True, eq=False)
class LogitCertificate:
    """All that a Lipschitz certificate takes from a model's weights; the rest is in the logits.

    Attributes:
        norm: of the perturbation, ``"linf"`` or ``"l2"``.
        image_shape: ``(height, width, channels)``.
        lipschitz: upper bound of the Lipschitz constant: of each logit, or of the features under
            the last layer, if there is a ``kernel``.
        kernel: float32 array ``(features, classes)``, the last layer's; None if each logit is
            bounded alone.
        mean: that the model takes off the pixels, one number or one per channel.
        error, error_per_size: float32's error in a logit is at most ``error + error_per_size ·
            ‖x − mean‖₂``.

    Example:

    >>> import numpy as np
    >>> from zoo.certificates import LogitCertificate
    >>> certificate = LogitCertificate("linf", (8, 8, 1), lipschitz=1.0)
    >>> certificate.radius(np.array([[1.0, 0.5, 0.0]])).tolist()
    [0.25]
    """

    norm: str
    image_shape: tuple
    lipschitz: float
    kernel: np.ndarray | None = None
    mean: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(()))
    error: float = 0.0
    error_per_size: float = 0.0

    def radius(self, logits, x=None):
        """Certified radii.

        Args:
            logits: array ``(n, classes)``, as the model or an exported program of it gave them.
            x: the images ``(n, height, width, channels)`` in [0, 1], whose size bounds float32's
                error; None for any images.

        Returns:
            float32 array ``(n,)``, rounded down; 0 where nothing can be said.
        """
        logits = np.asarray(logits)
        if logits.ndim != 2 or logits.shape[1] < 2:
            raise ValueError(f"expected logits (n, classes), got shape {logits.shape}")
        if x is not None and np.shape(x) != (len(logits), *self.image_shape):
            raise ValueError(
                f"expected {len(logits)} images {self.image_shape}, got shape {np.shape(x)}"
            )
        if logits.dtype == np.float16:
            raise ValueError(
                "logits in half precision are wrong by more than the certificate knows"
            )
        if self.kernel is None:
            error = self._error(logits, None, 0.0)
            return round_down(lipschitz_radius(logits, self.lipschitz, error))
        # Two images in [0, 1] are no further apart.
        diameter = math.sqrt(math.prod(self.image_shape))
        radius = np.minimum(pairwise_radius(logits, self.kernel, self.lipschitz), diameter)
        error = self._error(logits, x, radius)
        radius = pairwise_radius(logits, self.kernel, self.lipschitz, error)
        return round_down(np.minimum(radius, diameter))

    def _error(self, logits, x, reach):
        # The image that an attacker would need is no larger than this.
        furthest = np.maximum(np.abs(self.mean), np.abs(1.0 - self.mean))
        size = np.linalg.norm(np.broadcast_to(furthest, self.image_shape))
        if x is not None:
            change = np.asarray(x, np.float64) - self.mean
            own = np.linalg.norm(change.reshape(len(logits), -1), axis=1) + reach
            size = np.minimum(size, own)
        return self.error + self.error_per_size * size

    def save(self, path):
        """Write it as an ``.npz`` file, which holds arrays alone, under just this name."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        with open(path, "wb") as file:
            np.savez(file, **{k: v for k, v in fields.items() if v is not None})

    @classmethod
    def load(cls, path):
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: naming the file, if it is none.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
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
            )
        except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} holds no certificate of logits: {error}") from error
