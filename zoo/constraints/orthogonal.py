"""A constraint that keeps kernels orthogonal."""

from typing import Any

import keras
from keras import ops

from zoo.ops.parametrizations import towards_orthogonal
from zoo.typing import Tensor


@keras.saving.register_keras_serializable(package="zoo")
class Orthogonal(keras.constraints.Constraint):
    """Brings a kernel back close to an orthogonal one after each step of an optimizer.

    It makes steps of Björck's iteration, after which no singular value is larger than 1. The kernel
    of a convolution is taken as a matrix that acts on patches.

    Args:
        steps: number of iterations after each step of the optimizer. One is enough for a kernel
            that starts orthogonal, as ``keras.initializers.Orthogonal`` makes it.

    Call arguments:
        kernel: tensor of shape ``(…, units)``.

    Returns:
        Tensor of the same shape.

    Examples:
        >>> import numpy as np, zoo
        >>> kernel = np.array([[1.1, 0.0], [0.0, 0.9]], "float32")
        >>> np.asarray(zoo.constraints.Orthogonal(steps=3)(kernel)).round(4).tolist()
        [[1.0, 0.0], [0.0, 1.0]]

    Reference:
        :func:`zoo.ops.parametrizations.towards_orthogonal`.
    """

    def __init__(self, steps: int = 1) -> None:
        self.steps = steps

    def __call__(self, kernel: Tensor) -> Tensor:
        shape = kernel.shape
        matrix = ops.reshape(kernel, (-1, shape[-1]))
        for _ in range(self.steps):
            matrix = towards_orthogonal(matrix)
        return ops.reshape(matrix, shape)

    def get_config(self) -> dict[str, Any]:
        return {"steps": self.steps}
