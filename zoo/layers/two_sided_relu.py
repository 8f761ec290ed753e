"""ReLU that keeps both signs."""

import keras
from keras import ops

from zoo.layers.nonexpansive_operation import NonexpansiveOperation


@keras.saving.register_keras_serializable(package="zoo")
class TwoSidedReLU(NonexpansiveOperation):
    """``relu(x)`` and ``relu(−x)``, one behind the other on the last axis.

    It keeps the L2 length of every input, and moves no two inputs apart.

    Call arguments:
        inputs: tensor of shape ``(batch, …, channels)``.

    Returns:
        Tensor of shape ``(batch, …, 2 · channels)``.

    Example:

    >>> import numpy as np, zoo
    >>> np.asarray(zoo.layers.TwoSidedReLU()(np.array([[3.0, -2.0]]))).tolist()
    [[3.0, 0.0, 0.0, 2.0]]

    Reference:
        Qian, Wegman: L2-Nonexpansive Neural Networks, ICLR 2019, section 2.2; Shang et al., ICML
        2016 (concatenated ReLU).
    """

    def call(self, inputs):
        return ops.concatenate([ops.relu(inputs), ops.relu(-inputs)], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2 * input_shape[-1])
