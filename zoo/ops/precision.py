"""Checks that the backend computes in float32, and a context for float64."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from zoo.typing import Array


def require_float32_arrays() -> None:
    """Raise unless Keras makes float32 tensors of arrays.

    Raises:
        ValueError: naming the type that it makes.
    """
    if keras.config.floatx() != "float32":
        raise ValueError(
            f"zoo needs float32, but keras.config.floatx() is {keras.config.floatx()!r}; call "
            "keras.config.set_floatx('float32')"
        )


def require_float32_layers(model: keras.Model) -> None:
    """Raise if a layer computes in another dtype than float32.

    Raises:
        ValueError: naming the layer and its dtype.
    """
    for layer in model._flatten_layers():
        if layer.compute_dtype != "float32":
            raise ValueError(
                f"zoo needs float32, but layer {layer.name!r} computes in "
                f"{layer.compute_dtype}; give it dtype='float32', or load the model under "
                "keras.config.set_dtype_policy('float32')"
            )


def require_float32(model: keras.Model) -> None:
    """Raise unless the model computes in true float32.

    This checks the layers' dtypes and the known settings of the backend, and then has the backend
    compute operations with known results: see :mod:`zoo.ops.arithmetic`.

    Raises:
        ValueError: if a layer computes in another dtype, or the backend in fewer bits.
    """
    from zoo.ops.arithmetic import require_exact_arithmetic

    require_float32_arrays()
    require_float32_layers(model)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if (
            tf.config.list_logical_devices("GPU")
            and tf.config.experimental.tensor_float_32_execution_enabled()
        ):
            raise ValueError(
                "zoo needs float32, but matrix products may use TF32; call "
                "zoo.ops.use_float32_products()"
            )
    elif keras.backend.backend() == "jax":
        import jax

        # JAX creates the attributes of its config at run time, so type checkers do not know them.
        config: Any = jax.config
        if jax.default_backend() != "cpu" and config.jax_default_matmul_precision not in (
            "float32",
            "highest",
        ):
            raise ValueError(
                "zoo needs float32, but matrix products may use TF32 or bfloat16; call "
                "zoo.ops.use_float32_products()"
            )
    require_exact_arithmetic()


def float64(tensor: Any) -> Array:
    """A tensor, or a weight, as a new float64 NumPy array."""
    return np.array(keras.ops.convert_to_numpy(tensor), np.float64)


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """A context in which tensors may be float64 and their products are computed in float64.

    Only JAX needs it. There float64 must be enabled, and the setting
    ``jax_default_matmul_precision`` may ask for products in bfloat16 even of float64 operands.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    import jax
    import jax.experimental

    # Older releases of JAX have `enable_x64` in `jax.experimental`.
    former: Any = jax.experimental
    x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else former.enable_x64
    with x64(True), jax.default_matmul_precision("highest"):
        yield
