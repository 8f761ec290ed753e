"""Images as rows."""

import math

import keras
from keras import ops

from zoo.layers.nonexpansive_operation import NonexpansiveOperation


@keras.saving.register_keras_serializable(package="zoo")
class Flatten(NonexpansiveOperation):
    """As ``keras.layers.Flatten``, and knows that it moves no two inputs apart.

    Call arguments:
        inputs: tensor of shape ``(batch, …)``; all but the batch must be known.

    Returns:
        Tensor of shape ``(batch, entries)``.

    Example:

    >>> import numpy as np, zoo
    >>> tuple(zoo.layers.Flatten()(np.zeros((2, 4, 4, 3))).shape)
    (2, 48)
    """

    def call(self, inputs):
        return ops.reshape(inputs, (-1, math.prod(inputs.shape[1:])))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], math.prod(input_shape[1:]))
