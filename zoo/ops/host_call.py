"""Calls of NumPy code from inside a graph, on either backend."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from zoo.ops.cores import cores
from zoo.typing import BatchShape, Tensor
from zoo.utils.backend import require_backend


def host_call(
    function: Callable[..., Any],
    inputs: Sequence[Tensor],
    outputs: Sequence[tuple[BatchShape, str]],
) -> list[Tensor]:
    """Call ``function`` on NumPy arrays, eagerly or inside a compiled graph.

    Args:
        function: function of NumPy arrays that returns one or a tuple of them.
        inputs: list of tensors, the arguments of the function.
        outputs: list of ``(shape, dtype)``, one for each result of the function; a dimension may be
            ``None`` on TensorFlow.

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
        results = tf.nest.flatten(results)  # in eager execution a single result is not in a list
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
def _on_arrays(function: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
    # The cache gives one wrapper per function, because JAX compiles again for each new callback.
    def call(*arrays: Any) -> tuple[Any, ...]:
        result = function(*(np.asarray(array) for array in arrays))
        return result if isinstance(result, tuple) else (result,)

    return call


def on_cpu() -> bool:
    """Whether the backend computes on the CPU and a host call works well there.

    Raises:
        NotImplementedError: on a backend other than TensorFlow and JAX.
    """
    require_backend()
    if keras.backend.backend() == "jax":
        import jax

        # With a single core there is a deadlock: XLA waits for the callback, which waits for XLA.
        return jax.default_backend() == "cpu" and cores() > 1
    return not any("GPU" in device.upper() for device in keras.distribution.list_devices())
