"""Radii of Lipschitz classifiers: the margin divided by how fast two logits can meet."""

import math
from collections.abc import Callable

import numpy as np

from zoo.certificates.certificate import per_class_of, round_down
from zoo.typing import Array, ArrayLike, Numbers, Shape
from zoo.utils.pair_distances import pair_distances


def lipschitz_radius(logits: ArrayLike, lipschitz: float = 1.0, error: Numbers = 0.0) -> Array:
    """Radius within which no logit overtakes the largest one, if every logit is Lipschitz.

    Each logit moves by at most ``lipschitz · r``, so two of them need ``r = gap / (2 · lipschitz)``
    to meet. ``4 · error`` is subtracted from the gap first, because both logits may be wrong by
    ``error``, both at the image and at the perturbed image.

    Args:
        logits: array ``(n, classes)``.
        lipschitz: upper bound of the Lipschitz constant of every logit, in the norm of the radius.
        error: upper bound of ``|computed − exact|`` of any logit, anywhere in the [0, 1] box.

    Returns:
        float64 array ``(n,)``; 0 if the margin is at most ``4 · error``, or not finite.

    Examples:
        >>> import numpy as np
        >>> from zoo.certificates import lipschitz_radius
        >>> lipschitz_radius(np.array([[1.0, 0.5, 0.0]])).tolist()
        [0.25]

    Reference:
        Zhang et al., ICML 2021, section 3; Tsuzuku, Sato, Sugiyama, NeurIPS 2018, proposition 1.
    """
    gap = margin(logits) - 4.0 * error
    radius = gap / (2.0 * lipschitz)
    return np.where(np.isfinite(radius) & (radius > 0), radius, 0.0)


def pairwise_radius(
    logits: ArrayLike, kernel: ArrayLike, lipschitz: float = 1.0, error: Numbers = 0.0
) -> Array:
    """L2 radius of a classifier that ends in a linear layer on Lipschitz features.

    ``f_c − f_j`` moves by at most ``lipschitz · ‖w_c − w_j‖₂ · r``, which differs from pair to pair
    of classes. So every other class is compared, not only the one with the second largest logit.

    Args:
        logits: array ``(n, classes)``.
        kernel: array ``(features, classes)``, the kernel that the last layer multiplies by.
        lipschitz: upper bound of the L2 Lipschitz constant of the features.
        error: as in :func:`lipschitz_radius`; a number, or an array ``(n,)``.

    Returns:
        float64 array ``(n,)``; 0 if the gap to a class is at most ``4 · error``, or not finite;
        ``inf`` if no other class can ever overtake.

    Examples:
        >>> import numpy as np
        >>> from zoo.certificates import pairwise_radius
        >>> pairwise_radius(np.array([[1.0, 0.0]]), np.array([[0.6, -0.6], [0.8, 0.8]])).round(4)
        array([0.8333])

    Reference:
        Tsuzuku, Sato, Sugiyama: Lipschitz-Margin Training, NeurIPS 2018, proposition 2 and
        section 3.2 (the last layer's weights).
    """
    with np.errstate(invalid="ignore", over="ignore"):
        steepness = lipschitz * pair_distances(kernel)
    return steepness_radius(logits, steepness, error)


def steepness_radius(logits: ArrayLike, steepness: ArrayLike, error: Numbers = 0.0) -> Array:
    """Radius of a classifier, given the Lipschitz constants of the differences of its logits.

    Args:
        logits: array ``(n, classes)``.
        steepness: array ``(classes, classes)``: upper bounds of the Lipschitz constants of
            ``f_c − f_j``, in the norm of the radius. The diagonal is not used.
        error: as in :func:`lipschitz_radius`; a number, or an array ``(n,)``.

    Returns:
        float64 array ``(n,)``; 0 if the gap to a class is at most ``4 · error``, or not finite;
        ``inf`` if no other class can ever overtake.

    Examples:
        >>> import numpy as np
        >>> from zoo.certificates import steepness_radius
        >>> steepness_radius(np.array([[1.0, 0.0]]), np.array([[0.0, 2.0], [2.0, 0.0]])).tolist()
        [0.5]
    """
    return steepness_radii(logits, steepness, error).min(axis=1)


def steepness_radii(logits: ArrayLike, steepness: ArrayLike, error: Numbers = 0.0) -> Array:
    """Radii against each other class, of which :func:`steepness_radius` is the least.

    Args:
        logits, steepness, error: as for :func:`steepness_radius`.

    Returns:
        float64 array ``(n, classes)``: 0 if the gap to this class is at most ``4 · error``, or a
        logit of the image is not finite; ``inf`` if the class can never overtake, and for the
        predicted class itself.

    Examples:
        >>> import numpy as np
        >>> from zoo.certificates import steepness_radii
        >>> steepness_radii(np.array([[1.0, 0.0, 0.5]]), np.full((3, 3), 2.0)).tolist()
        [[inf, 0.5, 0.25]]
    """
    logits, steepness = np.asarray(logits, np.float64), np.asarray(steepness, np.float64)
    own = np.argmax(logits, axis=1)
    radii, error = np.zeros(logits.shape), np.broadcast_to(error, len(logits))
    for c in np.unique(own):
        rows = own == c
        with np.errstate(invalid="ignore", divide="ignore"):
            gap = logits[rows, c][:, None] - logits[rows] - 4.0 * error[rows, None]
            meets = np.where(gap > 0, gap / steepness[c], 0.0)
        proved = np.isfinite(logits[rows]).all(axis=1) & np.isfinite(steepness[c]).all()
        meets = np.where(np.expand_dims(proved, 1), meets, 0.0)
        meets[:, c] = np.inf
        radii[rows] = meets
    return radii


def steepness_certificate(
    logits: Array,
    steepness: Array,
    image_shape: Shape,
    error: Callable[[Array], Numbers],
) -> tuple[Array, Array]:
    """Radii less a bound of float32's error that grows with the distance from the image.

    Radii that are computed without an error are at least as large as the proved ones. So the error
    has to be bounded only for the images within these distances: for the radius, within the least
    one of an image; for the radii against each class, within the largest one.

    Args:
        logits, steepness: as for :func:`steepness_radius`.
        image_shape: ``(height, width, channels)``.
        error: function from distances ``(n,)`` to the bound of the error of a logit, as in
            :func:`lipschitz_radius`, for all images within these distances.

    Returns:
        ``(radius, per_class)``: float32 arrays ``(n,)`` and ``(n, classes)``, rounded down; 0 where
        nothing is proved, and ``inf`` for the predicted class in ``per_class``.
    """
    own = np.argmax(logits, axis=1)
    # No two images in [0, 1] are farther apart than this.
    diameter = math.sqrt(math.prod(image_shape))

    def within(reach: Array) -> Array:
        return np.minimum(steepness_radii(logits, steepness, error(reach)), diameter)

    exact = np.minimum(steepness_radii(logits, steepness), diameter)
    radius = round_down(within(exact.min(axis=1)).min(axis=1))
    exact[np.arange(len(exact)), own] = 0.0
    return radius, per_class_of(within(exact.max(axis=1)), radius, own)


def lipschitz_radii(logits: ArrayLike, lipschitz: float = 1.0, error: Numbers = 0.0) -> Array:
    """Radii against each other class, of which :func:`lipschitz_radius` is the least.

    Args:
        logits, lipschitz, error: as for :func:`lipschitz_radius`.

    Returns:
        float64 array ``(n, classes)``, as of :func:`steepness_radii`.

    Examples:
        >>> import numpy as np
        >>> from zoo.certificates import lipschitz_radii
        >>> lipschitz_radii(np.array([[1.0, 0.5, 0.0]])).tolist()
        [[inf, 0.25, 0.5]]
    """
    count = np.shape(logits)[1]
    return steepness_radii(logits, np.broadcast_to(2.0 * lipschitz, (count, count)), error)


def other_classes(classes: Array, count: int) -> Array:
    """The ``count − 1`` other classes of each image, in order: an int array ``(n, count − 1)``."""
    others = np.arange(count - 1)[None]
    return others + (others >= np.asarray(classes)[:, None])


def margin(logits: ArrayLike) -> Array:
    """The largest minus the second largest logit.

    Args:
        logits: array ``(n, classes)`` of at least two classes.

    Returns:
        float64 array ``(n,)``; NaN where logits are infinite.

    Examples:
        >>> from zoo.certificates import margin
        >>> margin([[1.0, 3.0, 0.5]]).tolist()
        [2.0]
    """
    top = np.partition(np.asarray(logits, np.float64), -2, axis=1)
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, which certifies nothing
        return top[:, -1] - top[:, -2]
