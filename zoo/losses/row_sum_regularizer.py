"""What a free kernel pays for stretching."""

import keras
from keras import ops

from zoo.ops.parametrizations import smaller_gram
from zoo.ops.singular_values import gram_row_sums

# Beyond this ratio of the kernel's sides the larger Gram matrix is not computed.
_LOPSIDED = 4


@keras.saving.register_keras_serializable(package="zoo")
class RowSumRegularizer(keras.regularizers.Regularizer):
    """``weight · Σ relu(row sum − 1)`` over the absolute row sums of a Gram matrix.

    Of ``WᵀW`` or ``WWᵀ``, whichever gives less; of the smaller matrix if one side of ``W`` is more
    than four times the other, since the larger one costs far more and has more rows to pay for. At
    zero the kernel is nonexpansive.

    Args:
        weight: not negative.

    Call arguments:
        kernel: tensor of shape ``(…, units)``; a convolution's is taken as a matrix on patches.

    Returns:
        Scalar tensor.

    Raises:
        ValueError: if the weight is negative or no number.

    Example:

    >>> import numpy as np, zoo
    >>> float(zoo.losses.RowSumRegularizer(0.5)(np.array([[2.0], [0.0]])))
    1.5

    Reference:
        Qian, Wegman: L2-Nonexpansive Neural Networks, ICLR 2019, section 2.2.
    """

    def __init__(self, weight):
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not weight >= 0:
            raise ValueError(f"weight must be a number of at least 0, got {weight!r}")
        self.weight = float(weight)

    def __call__(self, kernel):
        matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
        if max(matrix.shape) > _LOPSIDED * min(matrix.shape):
            gram, _ = smaller_gram(matrix)
            return self.weight * _excess(ops.sum(ops.abs(gram), axis=1))
        return self.weight * ops.minimum(*map(_excess, gram_row_sums(matrix)))

    def get_config(self):
        return {"weight": self.weight}


def _excess(row_sums):
    return ops.sum(ops.relu(row_sums - 1.0))
