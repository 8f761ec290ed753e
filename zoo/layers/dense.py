"""A dense layer whose sums round little."""

import keras

from zoo.ops.blocked_matmul import blocked_matmul
from zoo.typing import Tensor


@keras.saving.register_keras_serializable(package="zoo")
class Dense(keras.layers.Dense):
    """``keras.layers.Dense``, but at inference it adds up each sum of products in small blocks.

    A certificate subtracts from the margin what float32 may round off, and it must allow for any
    order of summation. A product in a sum of n then goes through up to n roundings, which for wide
    layers takes a large part of the radius; in blocks it goes through about 40. The layer computes
    the same function as Keras's, has the same weights, and takes the same arguments. While training
    it uses Keras's own product, which is faster.

    Call arguments:
        inputs: tensor ``(…, inputs)``.

    Returns:
        Tensor ``(…, units)``.

    Examples:
        >>> import numpy as np, zoo
        >>> tuple(zoo.layers.Dense(3)(np.zeros((2, 100))).shape)
        (2, 3)

    Reference:
        Higham: Accuracy and Stability of Numerical Algorithms, 2002, section 4.2 (blocked
        summation).
    """

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if training:
            return super().call(inputs, training=training)
        outputs = blocked_matmul(inputs, self.kernel)
        if self.bias is not None:
            outputs = outputs + self.bias
        return outputs if self.activation is None else self.activation(outputs)
