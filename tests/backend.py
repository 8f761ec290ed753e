"""What the tests need to know of a backend."""

import json
import os
import pathlib

import numpy as np
import pytest


def chosen_backend():
    """The backend that Keras will take, without the seconds that importing it costs."""
    if "KERAS_BACKEND" in os.environ:
        return os.environ["KERAS_BACKEND"]
    home = pathlib.Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    try:
        return json.loads((home / "keras.json").read_text(encoding="utf-8"))["backend"]
    except (OSError, ValueError, KeyError):
        return "tensorflow"


BACKEND = chosen_backend()
# JAX compiles each operation anew for every shape. A test of something that computes the same with
# both backends, but takes JAX far longer, runs on TensorFlow alone.
slow_to_compile = pytest.mark.skipif(
    BACKEND == "jax", reason="nothing of it depends on the backend; slow to compile"
)


def errors_of_missing_kernels():
    """What TensorFlow raises for operations that it cannot compute on a CPU; nothing on JAX."""
    if BACKEND == "jax":
        return ()
    import tensorflow as tf

    return (tf.errors.UnimplementedError,)


def value_and_gradients(function, *arrays, compiled=True):
    """``sum(function(*arrays))``'s summands and its gradients, as NumPy arrays."""
    if BACKEND == "jax":
        import jax

        def scalar(*args):
            value = function(*args)
            return value.sum(), value

        compute = jax.value_and_grad(scalar, argnums=tuple(range(len(arrays))), has_aux=True)
        (_, value), gradients = (jax.jit(compute) if compiled else compute)(*arrays)
    else:
        import tensorflow as tf

        def compute(*args):
            with tf.GradientTape() as tape:
                tape.watch(args)
                value = function(*args)
                total = tf.reduce_sum(value)
            return value, tape.gradient(total, args)

        args = tuple(map(tf.constant, arrays))
        value, gradients = (tf.function(compute) if compiled else compute)(*args)
    return np.asarray(value), [np.asarray(g) for g in gradients]
