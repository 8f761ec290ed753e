"""Kernels that stay orthogonal."""

import keras
from keras import ops

from zoo.ops.parametrizations import towards_orthogonal


@keras.saving.register_keras_serializable(package="zoo")
class Orthogonal(keras.constraints.Constraint):
    """Brings a kernel back to the orthogonal ones, or close, after each step of an optimizer.

    By Björck's iteration, whose steps make no singular value larger than 1. A convolution's kernel
    is taken as a matrix on patches.

    Args:
        steps: iterations each time. One is enough for a kernel that starts orthogonal, as
            ``keras.initializers.Orthogonal`` makes it.

    Call arguments:
        kernel: tensor of shape ``(…, units)``.

    Returns:
        Tensor of the same shape.

    Example:

    >>> import numpy as np, zoo
    >>> kernel = np.array([[1.1, 0.0], [0.0, 0.9]], "float32")
    >>> np.asarray(zoo.constraints.Orthogonal(steps=3)(kernel)).round(4).tolist()
    [[1.0, 0.0], [0.0, 1.0]]

    Reference:
        :func:`zoo.ops.parametrizations.towards_orthogonal`.
    """

    def __init__(self, steps=1):
        self.steps = steps

    def __call__(self, kernel):
        shape = kernel.shape
        matrix = ops.reshape(kernel, (-1, shape[-1]))
        for _ in range(self.steps):
            matrix = towards_orthogonal(matrix)
        return ops.reshape(matrix, shape)

    def get_config(self):
        return {"steps": self.steps}
