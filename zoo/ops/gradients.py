"""Gradients with respect to inputs, inside or outside of a training step, on either backend."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from zoo.typing import Tensor


def input_gradient(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Gradient of ``Σ function(inputs)`` with respect to ``inputs``.

    The gradient can itself be differentiated with respect to the weights that ``function`` uses, so
    a loss that is computed from it can train them.

    Args:
        function: function of one tensor that consists of ``keras.ops`` and layers.
        inputs: tensor, float.

    Returns:
        Tensor of the shape of ``inputs``.

    Raises:
        NotImplementedError: on a backend other than TensorFlow and JAX.

    Examples:
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
    raise _unknown(backend)


def input_jacobian(function: Callable[[Tensor], Tensor], inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives of every output with respect to the inputs (the Jacobian).

    It takes one forward pass and one backward pass, which is vectorised over the outputs. Like
    :func:`input_gradient`, the result can be differentiated again.

    Args:
        function: function of a batch that consists of ``keras.ops`` and layers and computes each
            sample independently of the others.
        inputs: tensor ``(batch, *input_shape)``, float.

    Returns:
        ``(outputs, jacobian)``: tensors ``(batch, classes)`` and ``(batch, classes,
        *input_shape)``.

    Raises:
        NotImplementedError: on a backend other than TensorFlow and JAX.

    Examples:
        >>> import numpy as np
        >>> from zoo.ops import input_jacobian
        >>> kernel = np.array([[1.0, 2.0], [3.0, 4.0]])
        >>> _, jacobian = input_jacobian(lambda x: x @ kernel, np.ones((5, 2)))
        >>> np.asarray(jacobian)[0].tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    inputs = ops.convert_to_tensor(inputs)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            outputs = function(inputs)
        return outputs, tape.batch_jacobian(outputs, inputs)
    if backend == "jax":
        import jax

        outputs, back = jax.vjp(function, inputs)
        rows = ops.eye(outputs.shape[1], dtype=outputs.dtype)
        rows = ops.broadcast_to(rows[:, None], (outputs.shape[1], *outputs.shape))
        (jacobian,) = jax.vmap(back)(rows)
        return outputs, ops.moveaxis(jacobian, 0, 1)
    raise _unknown(backend)


def traced_once(function: Callable[..., Any], *, on_jax: bool = False) -> Callable[..., Any]:
    """A function that is traced once for each combination of shapes, whichever model calls it.

    TensorFlow never frees a graph in which a custom gradient was traced, nor the weights that the
    graph uses. So a function with a custom gradient gets a graph of its own, without weights, which
    all models share whose tensors have the same shapes. In eager execution the function is called
    directly.

    JAX compiles a loop again whenever its body is a new function object, and keeps each compiled
    program. A function that is compiled once avoids this.

    Args:
        function: function of tensors that uses no variables.
        on_jax: whether JAX compiles the function, which is only needed if it contains loops.

    Returns:
        A function of the same tensors. Store it and use it again, because every one has its own
        traces.
    """
    backend = keras.backend.backend()
    if backend == "jax" and on_jax:
        import jax

        return jax.jit(function)
    if backend != "tensorflow":
        return function
    import tensorflow as tf

    traced = tf.function(function, autograph=False)

    def call(*tensors: Tensor) -> Any:
        return function(*tensors) if tf.executing_eagerly() else traced(*tensors)

    return call


def _unknown(backend: str) -> NotImplementedError:
    return NotImplementedError(f"input gradients need TensorFlow or JAX, not {backend}")
