"""Batch normalisation at inference, as float32 computes it."""

import dataclasses

import keras
import numpy as np

from zoo.ops.float32 import LARGEST, SMALLEST_NORMAL
from zoo.ops.precision import float64
from zoo.typing import Array

#: Upper bound of the number of roundings that one output goes through: those of the root, the
#: reciprocal, the products and the sums, in whatever order a backend executes them.
ROUNDINGS = 16
# Flushing subnormal numbers to zero changes variance + epsilon by at most 2 * SMALLEST_NORMAL,
# which is 2**-125. That is less than one unit roundoff (2**-24) of a sum of at least 2**-100, so
# ROUNDINGS covers it. No error bound is claimed for a smaller sum.
_SMALLEST_VARIANCE = 2.0**-100


@dataclasses.dataclass(frozen=True)
class Normalization:
    """The affine map ``x * factor + shift`` of each channel.

    Attributes:
        factor, shift: float64 arrays ``(channels,)``.
        size: float64 array ``(channels,)``, the sum of the absolute values of the terms of
            ``shift``. The terms may cancel each other, but their rounding errors do not. It is
            infinite if an intermediate result may exceed float32's range.
        flushed: float64 array ``(channels,)``. If float32 flushes ``factor``, or a number that it
            is computed from, to zero, the error of an output is at most
            ``flushed * (|x| + mean)``.
        mean: float64 array ``(channels,)``, the absolute values of the moving means.
    """

    factor: Array
    shift: Array
    size: Array
    flushed: Array
    mean: Array


def normalization_of(layer: keras.layers.Layer) -> Normalization:
    """The affine map that a ``keras.layers.BatchNormalization`` computes at inference.

    The layer computes ``inverse = rsqrt(variance + epsilon)``, then ``factor = gamma * inverse``
    and ``x * factor + (beta - mean * factor)``. Each result is rounded, which :data:`ROUNDINGS`
    counts. Each may overflow. And each is flushed to zero if it is below the smallest normal number
    S: a flushed ``gamma`` changes the factor by at most ``S * inverse``, and a flushed product
    changes it by at most S. So flushing changes the factor by at most ``S * (1 + inverse)``, and
    both the input and the mean are multiplied by that error.

    Args:
        layer: a built batch normalisation over the last axis.

    Returns:
        :class:`Normalization`.
    """
    mean, variance = float64(layer.moving_mean), float64(layer.moving_variance)
    gamma = float64(layer.gamma) if layer.scale else np.ones_like(mean)
    beta = float64(layer.beta) if layer.center else np.zeros_like(mean)
    with np.errstate(all="ignore"):  # channels with non-finite values get an infinite `size`
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


def factors_of(layer: keras.layers.Layer) -> Array:
    """All numbers that the layer's input may be multiplied by in a program, a float64 array.

    These are ``gamma``, ``inverse`` and their product, for each channel, where they are finite.
    """
    gamma = float64(layer.gamma) if layer.scale else np.ones(1)
    with np.errstate(all="ignore"):
        inverse = 1.0 / np.sqrt(float64(layer.moving_variance) + layer.epsilon)
        factors = np.concatenate([gamma, inverse, inverse * gamma])
    return factors[np.isfinite(factors)]
