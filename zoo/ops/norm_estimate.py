"""Estimates from below of norms of linear maps, by power iteration; for training only.

A certificate must never use them, because it needs upper bounds.
"""

import dataclasses
from collections.abc import Callable
from typing import NoReturn

from keras import ops

from zoo.ops.gradients import input_gradient
from zoo.typing import Tensor

# Lower limit of the lengths that vectors are divided by, and of the estimate.
_SMALLEST = 1e-12


@dataclasses.dataclass(frozen=True)
class NormEstimate:
    """An estimate of a Lipschitz constant, from below.

    It deliberately does not behave like a number: arithmetic with it raises ``TypeError``. A
    certificate needs an upper bound instead, from :func:`zoo.ops.dense_norm` or
    :func:`zoo.ops.convolution_norm`. A loss uses ``value``.

    Attributes:
        value: tensor, differentiable with respect to the weights.
        features: scalar tensor, the part of ``value`` that comes from the layers before the last
            one, differentiable too; None if the estimate does not tell it.
    """

    value: Tensor
    features: Tensor | None = None

    # Without this, NumPy would take the estimate for an array with one object, and compute with it.
    __array_ufunc__ = None

    def __float__(self) -> NoReturn:
        raise TypeError(
            "an estimate of a norm, from below, proves nothing; certify with an upper bound: "
            "zoo.ops.dense_norm, zoo.ops.convolution_norm"
        )


def power_iteration(
    linear: Callable[[Tensor], Tensor], vector: Tensor, steps: int = 1
) -> tuple[NormEstimate, Tensor]:
    """One or more steps of power iteration with ``linearᵀ linear``.

    In training it is called once per batch, with the vector that the last call returned. Then the
    estimate follows the weights while they train.

    Args:
        linear: linear function of a tensor; its weights receive gradients.
        vector: tensor from which the iteration starts.
        steps: number of steps, at least 1.

    Returns:
        ``(estimate, vector)``: a :class:`NormEstimate` of the spectral norm ``‖linear‖₂``, which
        does not exceed the norm except by rounding, and the vector of length 1 for the next call.

    Examples:
        >>> import numpy as np
        >>> from zoo.ops import power_iteration
        >>> kernel = np.array([[3.0, 0.0], [0.0, 4.0]], "float32")
        >>> start = np.ones((1, 2), "float32")
        >>> estimate, _ = power_iteration(lambda x: x @ kernel, start, steps=20)
        >>> round(float(estimate.value), 3)
        4.0

    Reference:
        Tsuzuku, Sato, Sugiyama: Lipschitz-Margin Training, NeurIPS 2018, algorithm 2.
    """
    vector = ops.convert_to_tensor(vector)
    vector = vector / ops.maximum(_length(vector), _SMALLEST)
    for _ in range(steps):
        # Half the gradient of ‖linear(v)‖² is linearᵀ linear v.
        turned = ops.stop_gradient(input_gradient(lambda v: 0.5 * ops.square(linear(v)), vector))
        length = _length(turned)
        # A vector that the map takes to zero is kept: after the weights change, it is of use again.
        vector = ops.where(length > _SMALLEST, turned / ops.maximum(length, _SMALLEST), vector)
    # The lower limit is there because a root has no derivative at zero.
    square = ops.sum(ops.square(linear(vector)))
    return NormEstimate(ops.sqrt(ops.maximum(square, _SMALLEST**2))), vector


def _length(tensor: Tensor) -> Tensor:
    return ops.sqrt(ops.sum(ops.square(tensor)))
