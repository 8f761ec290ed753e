"""Golden logits: a checkpoint's logits for two synthetic images, recorded to detect changes."""

import math
from typing import TYPE_CHECKING

import numpy as np

from zoo.typing import Array, ImageShape

if TYPE_CHECKING:
    from zoo.models import CertifiedModel

#: Largest difference, relative to the largest logit, that rounding on another machine may cause.
TOLERANCE = 1e-3
# The step is odd and the number of levels a power of two, so pixels repeat only after all levels.
_STEP, _LEVELS = 40503, 65536


def images(image_shape: ImageShape) -> Array:
    """Two images in [0, 1] that are the same on every machine.

    Their pixels are multiples of the golden ratio, modulo 1.

    Args:
        image_shape: ``(height, width, channels)``.

    Returns:
        float32 array ``(2, height, width, channels)``, in multiples of 1/65536.

    Examples:
        >>> from zoo.hub import golden
        >>> golden.images((1, 2, 1)).reshape(-1).tolist()
        [0.0, 0.6180267333984375, 0.236053466796875, 0.8540802001953125]
    """
    count = 2 * math.prod(image_shape)
    values = np.arange(count, dtype=np.int64) * _STEP % _LEVELS
    return (values / _LEVELS).astype("float32").reshape(2, *image_shape)


def logits(model: "CertifiedModel") -> list[list[float]]:
    """The model's logits for :func:`images`, as lists of numbers."""
    return [[round(float(v), 6) for v in row] for row in model.logits(images(model.image_shape))]


def difference(model: "CertifiedModel", expected: list[list[float]]) -> float:
    """The largest difference from the expected logits, relative to the largest expected logit.

    Args:
        model: a :class:`zoo.models.CertifiedModel`.
        expected: logits as :func:`logits` returned them earlier.

    Returns:
        A number; if it is above :data:`TOLERANCE`, the model has changed. NaN if logits are not
        finite.
    """
    found, wanted = np.array(logits(model)), np.array(expected)
    if found.shape != wanted.shape:
        return float("inf")
    with np.errstate(invalid="ignore"):
        return float(np.abs(found - wanted).max() / max(1e-3, np.abs(wanted).max()))
