"""Norms of linear maps from below, by power iteration: to train with, never to certify with."""

import dataclasses
from typing import Any

from keras import ops

from zoo.ops.gradients import input_gradient

# Of what a vector is divided by; a map that is zero has the estimate zero.
_SMALLEST = 1e-12


@dataclasses.dataclass(frozen=True)
class NormEstimate:
    """An estimate of a Lipschitz constant, from below.

    It is no number on purpose: a certificate needs an upper bound, such as
    :func:`zoo.ops.dense_norm` and :func:`zoo.ops.convolution_norm` give, and arithmetic with an
    estimate raises ``TypeError``. A loss takes its ``value``.

    Attributes:
        value: tensor, differentiable with respect to the weights.
    """

    value: Any

    # Without this NumPy would take it for an array of one object.
    __array_ufunc__ = None

    def __float__(self):
        raise TypeError(
            "an estimate of a norm, from below, proves nothing; certify with an upper bound: "
            "zoo.ops.dense_norm, zoo.ops.convolution_norm"
        )


def power_iteration(linear, vector, steps=1):
    """One or more steps of power iteration with ``linearᵀ linear``.

    Called once a batch with the vector of the batch before, it follows the weights as they train.

    Args:
        linear: linear function of a tensor; its weights receive gradients.
        vector: tensor, where the iteration starts.
        steps: at least 1.

    Returns:
        ``(estimate, vector)``: a :class:`NormEstimate` of ``‖linear‖₂``, never above it but for
        rounding, and the vector of length 1 to go on from.

    Example:

    >>> import numpy as np
    >>> from zoo.ops import power_iteration
    >>> kernel = np.array([[3.0, 0.0], [0.0, 4.0]], "float32")
    >>> estimate, _ = power_iteration(lambda x: x @ kernel, np.ones((1, 2), "float32"), steps=20)
    >>> round(float(estimate.value), 3)
    4.0

    Reference:
        Tsuzuku, Sato, Sugiyama: Lipschitz-Margin Training, NeurIPS 2018, algorithm 2.
    """
    vector = ops.convert_to_tensor(vector)
    for _ in range(steps):
        # Half the gradient of ‖linear(v)‖² is linearᵀ linear v.
        vector = ops.stop_gradient(input_gradient(lambda v: 0.5 * ops.square(linear(v)), vector))
        vector = vector / ops.maximum(_length(vector), _SMALLEST)
    # A root has no derivative at zero.
    square = ops.sum(ops.square(linear(vector)))
    return NormEstimate(ops.sqrt(ops.maximum(square, _SMALLEST**2))), vector


def _length(tensor):
    return ops.sqrt(ops.sum(ops.square(tensor)))
