"""Calling NumPy code from inside a graph, on either backend."""

import functools

import keras
import numpy as np

from zoo.ops.cores import cores
from zoo.utils.backend import require_backend


def host_call(function, inputs, outputs):
    """Call ``function`` on NumPy arrays, eagerly or inside a compiled graph.

    Args:
        function: takes and returns NumPy arrays (a tuple of them, or a single one).
        inputs: list of tensors handed to it.
        outputs: list of ``(shape, dtype)`` of what it returns; a dimension may be ``None`` on
            TensorFlow.

    Returns:
        A list of tensors. No gradient flows through them: wrap the call in
        ``keras.ops.custom_gradient``.

    Raises:
        NotImplementedError: on a backend other than TensorFlow and JAX.
    """
    require_backend()
    call = _on_arrays(function)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        results = tf.numpy_function(call, inputs, [tf.as_dtype(dtype) for _, dtype in outputs])
        results = tf.nest.flatten(results)  # eagerly, a single result comes bare
        for result, (shape, _) in zip(results, outputs, strict=True):
            result.set_shape(shape)
        return results
    import jax
    import jax.core

    if not any(isinstance(value, jax.core.Tracer) for value in inputs):
        return [jax.numpy.asarray(result) for result in call(*inputs)]
    specs = tuple(jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in outputs)
    return list(jax.pure_callback(call, specs, *inputs, vmap_method="sequential"))


@functools.cache
def _on_arrays(function):
    # One wrapper per function: JAX compiles a callback anew for each one it has not seen.
    def call(*arrays):
        result = function(*(np.asarray(array) for array in arrays))
        return result if isinstance(result, tuple) else (result,)

    return call


def on_cpu():
    """Whether the backend computes on the CPU and a host call works well there.

    Raises:
        NotImplementedError: on a backend other than TensorFlow and JAX.
    """
    require_backend()
    if keras.backend.backend() == "jax":
        import jax

        # With a single thread, XLA waits for the callback and the callback for XLA.
        return jax.default_backend() == "cpu" and cores() > 1
    return not any("GPU" in device.upper() for device in keras.distribution.list_devices())
