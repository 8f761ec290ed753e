"""ReLU that keeps both signs."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="zoo")
class TwoSidedReLU(keras.layers.Layer):
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

    def lipschitz(self):
        """L2 Lipschitz constant: 1."""
        return 1.0

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2 * input_shape[-1])
