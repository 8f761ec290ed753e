"""How far the nearest known image is that a model takes for something else."""

from typing import Any

import numpy as np

from zoo.attacks.ball import size
from zoo.attacks.methods.fab_t import FABT
from zoo.attacks.methods.fmn import FMN
from zoo.attacks.registry import checked_attack, norm_for
from zoo.epsilon import Epsilon
from zoo.typing import Array, ArrayLike, NormLike
from zoo.utils import checks, inputs

# Both attacks begin at the image itself, and draw no random numbers.
_UNUSED = np.random.default_rng(0)


def nearest(
    model: Any,
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    norm: NormLike | None = None,
    steps: int = 100,
    targets: int = 3,
    batch_size: int = 256,
    verbose: int = 0,
) -> Array:
    """Distances of the nearest known images in [0, 1] that a model classifies otherwise.

    They are upper bounds of what a certified radius bounds from below. The images are those of the
    attacks ``fmn`` and ``fab-t``, which look for minimal perturbations.

    Args:
        model: a :class:`zoo.models.CertifiedModel`, or a Keras classifier as for
            :func:`zoo.attacks.attack`.
        x, y: images and labels, as for :func:`zoo.attacks.attack`.
        norm: ``"linf"`` or ``"l2"``; by default the first that the model certifies.
        steps: gradient steps of each attack.
        targets: classes that ``fab-t`` looks towards.
        batch_size, verbose: as for :func:`zoo.attacks.attack`.

    Returns:
        float64 array ``(n,)``, in units of the [0, 1] image: 0 where the image itself is not
        classified as ``y``, ``inf`` where no other image was found.

    Raises:
        TypeError, ValueError, NotImplementedError: as :func:`zoo.attacks.attack`.

    Examples:
        >>> import numpy as np, zoo
        >>> model = zoo.models.LinfDistNet((8, 8, 1), 10, width=16, depth=2)
        >>> x = np.full((1, 8, 8, 1), 0.5, "float32")
        >>> distance = zoo.attacks.nearest(model, x, norm="linf", steps=20)
        >>> bool(distance[0] >= model.certify(x).radius[0])
        True
    """
    from zoo.attacks.victim import victim
    from zoo.models.any_classifier import as_classifier
    from zoo.ops.precision import require_float32
    from zoo.utils.progress import track

    x, y = inputs.read(x, y)
    model = as_classifier(model, x)
    norm = norm_for(model, norm)
    attacks = [FMN(steps=steps), FABT(steps=steps, targets=targets)]
    for attack in attacks:
        checked_attack(attack, norm, model=model)
    batch_size = checks.positive_integer(batch_size, "batch_size")
    require_float32(model)
    x = checks.images(x, model.image_shape)
    if y is None:
        y = np.argmax(model.logits(x, batch_size=batch_size), axis=1)
    y = checks.labels(y, len(x), model.num_classes)
    found = []
    for start in track(range(0, len(x), batch_size), "nearest flips", show=verbose):
        images, labels = x[start : start + batch_size], y[start : start + batch_size]
        distance = np.where(flipped(model, images, labels), 0.0, np.inf)
        for attack in attacks:
            rows = np.flatnonzero(distance > 0)
            # With a budget of 0 no image counts as fooled, so the attack looks for the nearest one.
            given = (victim(model), images[rows].copy(), labels[rows], Epsilon(0), norm, _UNUSED)
            points = attack.run(*given) if len(rows) else images[rows]
            far = distances(model, points, images[rows], labels[rows], norm)
            distance[rows] = np.minimum(distance[rows], far)
        found.append(distance)
    return np.concatenate(found) if found else np.zeros(0)


def distances(model, points, x, y, norm):
    """Distances of points from their images; ``inf`` where a point still has the image's class.

    Args:
        model: as for :func:`nearest`, of the zoo.
        points: images in [0, 1], ``(n, height, width, channels)``.
        x, y: the images that they are near to, and their classes.
        norm: of the distance.

    Returns:
        float64 array ``(n,)``.
    """
    if not len(x):
        return np.zeros(0)
    points = np.clip(points, 0.0, 1.0).astype(np.float32)
    far = size(points.astype(np.float64) - x, norm)
    return np.where(flipped(model, points, y), far, np.inf)


def flipped(model, x, y):
    """Whether a model classifies images other than as ``y``: bool array ``(n,)``."""
    from zoo.certificates.nan_logits import classes_of

    return classes_of(model.logits(x, batch_size=max(1, len(x)))) != y
