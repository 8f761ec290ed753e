"""An activation that sorts channels in pairs."""

import keras
from keras import ops

from zoo.layers.nonexpansive_operation import NonexpansiveOperation
from zoo.typing import BatchShape, Tensor


@keras.saving.register_keras_serializable(package="zoo")
class MaxMin(NonexpansiveOperation):
    """Sorts the channels in pairs: all the larger ones, then all the smaller ones.

    Channel i is paired with channel ``i + channels / 2``. The output is a permutation of the input,
    so the layer preserves the L2 norms of inputs and of gradients.

    Call arguments:
        inputs: tensor of shape ``(batch, …, channels)`` with an even number of channels.

    Returns:
        Tensor of the shape of ``inputs``.

    Raises:
        ValueError: if the number of channels is odd.

    Examples:
        >>> import numpy as np, zoo
        >>> np.asarray(zoo.layers.MaxMin()(np.array([[1.0, 2.0, 3.0, 0.0]]))).tolist()
        [[3.0, 2.0, 1.0, 0.0]]

    Reference:
        Anil, Lucas, Grosse: Sorting Out Lipschitz Function Approximation, ICML 2019, section 4.2.
    """

    def build(self, input_shape: BatchShape) -> None:
        if input_shape[-1] is None or input_shape[-1] % 2:
            raise ValueError(f"MaxMin needs an even number of channels, got shape {input_shape}")

    def call(self, inputs: Tensor) -> Tensor:
        first, second = ops.split(inputs, 2, axis=-1)
        return ops.concatenate([ops.maximum(first, second), ops.minimum(first, second)], axis=-1)

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return input_shape
