"""Gradients with respect to inputs, inside a training step or outside, on either backend."""

import keras
from keras import ops


def input_gradient(function, inputs):
    """Gradient of ``Σ function(inputs)`` with respect to ``inputs``.

    It can be differentiated again: with respect to the weights that ``function`` uses, a loss made
    from it trains them.

    Args:
        function: of one tensor, made of ``keras.ops`` and layers.
        inputs: tensor, float.

    Returns:
        Tensor of the shape of ``inputs``.

    Raises:
        NotImplementedError: on a backend other than TensorFlow and JAX.

    Example:

    >>> import numpy as np
    >>> from zoo.ops import input_gradient
    >>> np.asarray(input_gradient(lambda x: x**2, np.array([1.0, 3.0]))).tolist()
    [2.0, 6.0]
    """
    inputs = ops.convert_to_tensor(inputs)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            outputs = function(inputs)
        gradient = tape.gradient(outputs, inputs)
        return ops.zeros_like(inputs) if gradient is None else gradient
    if backend == "jax":
        import jax

        return jax.grad(lambda x: ops.sum(function(x)))(inputs)
    raise NotImplementedError(f"input gradients need TensorFlow or JAX, not {backend}")
