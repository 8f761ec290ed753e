"""Batch normalisation at inference, as float32 computes it."""

import dataclasses

import numpy as np
from keras import ops

from zoo.ops.float32 import LARGEST, SMALLEST_NORMAL

#: An upper bound of the number of roundings that one output goes through: the root, the reciprocal,
#: products and sums, in any order of them.
ROUNDINGS = 16
# Variance plus epsilon may be flushed to zero in part: by at most 2 * SMALLEST_NORMAL, which is one
# unit roundoff of this. Whatever is smaller may be wrong by more than the roundings count.
_SMALLEST_VARIANCE = 2.0**-100


@dataclasses.dataclass(frozen=True)
class Normalization:
    """``x * factor + shift`` for each channel.

    Attributes:
        factor, shift: float64 arrays ``(channels,)``.
        size: float64 array ``(channels,)``: the sum of the sizes of the terms of ``shift``, which
            may cancel. It is infinite where float32 cannot hold a number that is met on the way.
        flushed: float64 array ``(channels,)``: float32 may flush a factor to zero. The error of an
            output is then at most ``flushed * (|x| + mean)``.
        mean: float64 array ``(channels,)``: sizes of the moving means.
    """

    factor: np.ndarray
    shift: np.ndarray
    size: np.ndarray
    flushed: np.ndarray
    mean: np.ndarray


def normalization_of(layer):
    """What a ``keras.layers.BatchNormalization`` computes at inference.

    The layer computes ``inverse = rsqrt(variance + epsilon)``, then ``factor = gamma * inverse``
    and ``x * factor + (beta - mean * factor)``. Each of these may be rounded, which
    :data:`ROUNDINGS` counts; each may be flushed to zero if it is below the smallest normal number
    S; and each may overflow. A flushed ``gamma`` changes the factor by at most ``S * inverse``, and
    a flushed product changes it by at most S. So the factor is wrong by at most
    ``S * (1 + inverse)``, and the input and the mean are multiplied by that error.

    Args:
        layer: a built batch normalisation over the last axis.

    Returns:
        :class:`Normalization`.
    """
    mean, variance = _float64(layer.moving_mean), _float64(layer.moving_variance)
    gamma = _float64(layer.gamma) if layer.scale else np.ones_like(mean)
    beta = _float64(layer.beta) if layer.center else np.zeros_like(mean)
    with np.errstate(all="ignore"):  # What is not finite is infinite in `size`.
        total = variance + layer.epsilon
        inverse = 1.0 / np.sqrt(total)
        factor = inverse * gamma
        size = np.abs(mean * factor) + np.abs(beta)
        held = (
            (variance >= 0)
            & (layer.epsilon >= 0)
            & (total >= _SMALLEST_VARIANCE)
            & (total < LARGEST)
            & (np.abs(factor) < LARGEST)
            & (np.abs(mean) * inverse < LARGEST)
            & (size < LARGEST)
        )
    return Normalization(
        factor=np.where(held, factor, 0.0),
        shift=np.where(held, beta - mean * np.where(held, factor, 0.0), 0.0),
        size=np.where(held, size, np.inf),
        flushed=np.where(held, 4.0 * SMALLEST_NORMAL * (1.0 + inverse), np.inf),
        mean=np.abs(mean),
    )


def _float64(variable):
    return ops.convert_to_numpy(variable).astype(np.float64)
