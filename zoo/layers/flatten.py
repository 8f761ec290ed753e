"""Flattening of images to vectors."""

import math

import keras
from keras import ops

from zoo.layers.nonexpansive_operation import NonexpansiveOperation
from zoo.typing import BatchShape, Tensor


@keras.saving.register_keras_serializable(package="zoo")
class Flatten(NonexpansiveOperation):
    """``keras.layers.Flatten`` as a nonexpansive layer, with ``lipschitz()`` and ``rounding()``.

    Call arguments:
        inputs: tensor of shape ``(batch, …)``; all but the batch must be known.

    Returns:
        Tensor of shape ``(batch, entries)``.

    Examples:
        >>> import numpy as np, zoo
        >>> tuple(zoo.layers.Flatten()(np.zeros((2, 4, 4, 3))).shape)
        (2, 48)
    """

    def call(self, inputs: Tensor) -> Tensor:
        return ops.reshape(inputs, (-1, math.prod(inputs.shape[1:])))

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return (input_shape[0], math.prod(input_shape[1:]))
