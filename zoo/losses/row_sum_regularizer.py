"""A regulariser that pushes a kernel towards being nonexpansive."""

import functools
from typing import Any

import keras
from keras import ops

from zoo.ops.gram import gram_row_sums
from zoo.typing import Tensor
from zoo.utils import checks


@keras.saving.register_keras_serializable(package="zoo")
class RowSumRegularizer(keras.regularizers.Regularizer):
    """``weight · Σ relu(row sum − 1)`` over the absolute row sums of a Gram matrix.

    The Gram matrix is ``WᵀW`` or ``WWᵀ``, whichever gives the smaller penalty. If one side of ``W``
    is more than four times the other, it is the smaller of the two matrices, because the larger one
    costs far more. A kernel with penalty zero is nonexpansive.

    Args:
        weight: factor of the penalty, not negative.

    Call arguments:
        kernel: tensor of shape ``(…, units)``. The kernel of a convolution is taken as a matrix
            that acts on patches.

    Returns:
        Scalar tensor.

    Raises:
        ValueError: if the weight is negative or not a number.

    Examples:
        >>> import numpy as np, zoo
        >>> float(zoo.losses.RowSumRegularizer(0.5)(np.array([[2.0], [0.0]])))
        1.5

    Reference:
        Qian, Wegman: L2-Nonexpansive Neural Networks, ICLR 2019, section 2.2.
    """

    def __init__(self, weight: float) -> None:
        self.weight = checks.not_negative_number(weight, "weight")

    def __call__(self, kernel: Tensor) -> Tensor:
        matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
        return self.weight * functools.reduce(ops.minimum, map(_excess, gram_row_sums(matrix)))

    def get_config(self) -> dict[str, Any]:
        return {"weight": self.weight}


def _excess(row_sums: Tensor) -> Tensor:
    return ops.sum(ops.relu(row_sums - 1.0))
