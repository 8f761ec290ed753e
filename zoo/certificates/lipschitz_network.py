"""Radii of Lipschitz networks, with float32's error bounded from the tensors that were computed."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from zoo.bounds.lipschitz import LipschitzNetwork, lengths
from zoo.bounds.rules.lipschitz_bound import LipschitzBound
from zoo.certificates.certificate import per_class_of
from zoo.certificates.lipschitz import steepness_certificate
from zoo.typing import Array, Tensor


def network_radii(
    network: LipschitzNetwork,
    bounds: Sequence[LipschitzBound],
    gains: Sequence[float],
    steepness: Array,
    logits: Array,
    images: Tensor,
    at_image: float,
) -> tuple[Array, Array]:
    """L2 radii of a batch of images.

    The error is far smaller than its bound for any image in [0, 1] would be, because an image's
    tensors are much shorter than the longest ones that there can be.

    Args:
        network: the layers up to the logits.
        bounds, gains, steepness: as the network's methods of these names return them; ``steepness``
            may be tighter.
        logits: array ``(n, classes)`` that float32 computed.
        images: float32 tensor ``(n, height, width, channels)``: what goes into the network.
        at_image: upper bound of the L2 norm of the error in ``images``.

    Returns:
        ``(radius, per_class)``: float32 arrays ``(n,)`` and ``(n, classes)``, rounded down; 0 where
        nothing is proved, and ``inf`` for the predicted class in ``per_class``.
    """
    if not np.isfinite(gains).all():
        radius = np.zeros(len(logits), np.float32)
        return radius, per_class_of(np.zeros(logits.shape), radius, np.argmax(logits, axis=1))
    tensors = network.tensors(images)
    sizes, sums = [lengths(tensor) for tensor in tensors], network.sums(tensors)

    def error_within(reach: Array) -> Array:
        def size(place: int, error: Array) -> Array:
            # An upper bound of the size of a step's computed inputs, for images within reach.
            return sizes[place] + moved(place, error)

        def moved(place: int, error: Array) -> Array:
            return 2.0 * error + gains[place] * reach

        return logit_error(network, bounds, size, at_image, sums, moved)

    return steepness_certificate(logits, steepness, tuple(images.shape[1:]), error_within)


def logit_error(
    network: LipschitzNetwork,
    bounds: Sequence[LipschitzBound],
    size: Callable[[int, Array], Array],
    at_image: float,
    sums: Sequence[Array | None] | None = None,
    moved: Callable[[int, Array], Array] | None = None,
) -> Array:
    """Bound of float32's error in a logit; arguments as for the network's ``errors``."""
    # `errors` bounds the L2 norm of the errors e of all logits: |e_c| + |e_j| ≤ √2 · errors.
    # Certificates assume 2 · (the returned bound) for this sum: errors / √2 suffices.
    return network.errors(bounds, size, at_image, sums, moved) / math.sqrt(2.0)
