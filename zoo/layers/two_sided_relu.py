"""The ReLU of the input and of its negative."""

import keras
from keras import ops

from zoo.layers.nonexpansive_operation import NonexpansiveOperation
from zoo.typing import BatchShape, Tensor


@keras.saving.register_keras_serializable(package="zoo")
class TwoSidedReLU(NonexpansiveOperation):
    """``relu(x)`` and ``relu(−x)``, concatenated along the last axis.

    The layer preserves the L2 norm of every input and never increases the distance of two inputs.

    Call arguments:
        inputs: tensor of shape ``(batch, …, channels)``.

    Returns:
        Tensor of shape ``(batch, …, 2 · channels)``.

    Examples:
        >>> import numpy as np, zoo
        >>> np.asarray(zoo.layers.TwoSidedReLU()(np.array([[3.0, -2.0]]))).tolist()
        [[3.0, 0.0, 0.0, 2.0]]

    Reference:
        Qian, Wegman: L2-Nonexpansive Neural Networks, ICLR 2019, section 2.2; Shang et al., ICML
        2016 (concatenated ReLU).
    """

    def call(self, inputs: Tensor) -> Tensor:
        return ops.concatenate([ops.relu(inputs), ops.relu(-inputs)], axis=-1)

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return (*input_shape[:-1], 2 * input_shape[-1])
