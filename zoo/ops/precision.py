"""How exact float32 is, and refusing arithmetic too coarse to prove anything with."""

import contextlib
import math
from typing import Any

import keras

#: A float32 operation is off by at most this much of its result.
UNIT_ROUNDOFF = 2.0**-24
#: Or by this much, where smaller numbers are taken for zero.
SMALLEST_NORMAL = 2.0**-126
#: Sums of sizes from here on may overflow.
LARGEST = 1e38
#: So many times UNIT_ROUNDOFF · (1 + |x|) is what float32's tanh, sigmoid and softplus of x may be
#: off by: libraries approximate these functions to a few units in the last place.
ACTIVATION_ROUNDINGS = 32.0
#: What float32's tanh may be off by, however large its argument is.
TANH_ERROR = 2.0**-20


def sum_rounding(terms):
    """Bound of a float32 sum of products' error relative to the sum of their sizes, in any order.

    Args:
        terms: number of roundings that one product may go through.

    Reference:
        Higham: Accuracy and Stability of Numerical Algorithms, 2002, lemma 3.1.
    """
    if terms * UNIT_ROUNDOFF >= 0.5:
        raise ValueError(f"a float32 sum of {terms} terms may be wrong by as much as it is")
    return terms * UNIT_ROUNDOFF / (1.0 - terms * UNIT_ROUNDOFF)


def flushing(terms, entries, weight=1.0):
    """Bound of what float32 loses where it takes numbers below the smallest normal one for zero.

    Of an array of sums of products with weights, in L2: results, partial sums and factors alike.

    Args:
        terms: of one sum.
        entries: number of sums.
        weight: largest weight's size.

    Returns:
        ``(per_size, offset)``: the loss is at most ``per_size · ‖inputs‖ + offset``.
    """
    each = terms * SMALLEST_NORMAL * math.sqrt(entries)
    return each, each * (2.0 + weight)


def require_float32(model):
    """Raise unless the model computes in true float32.

    The layers' dtypes and the backend's known settings are looked at, and then the backend is asked
    for products with a known answer: see :mod:`zoo.ops.arithmetic`.

    Raises:
        ValueError: if a layer computes in another dtype, or the backend in fewer bits.
    """
    from zoo.ops.arithmetic import require_exact_arithmetic

    if keras.config.floatx() != "float32":
        # Keras rounds the arrays that `predict` is given to this type.
        raise ValueError(
            f"zoo needs float32, but keras.config.floatx() is {keras.config.floatx()!r}; call "
            "keras.config.set_floatx('float32')"
        )
    for layer in model._flatten_layers():
        if layer.compute_dtype != "float32":
            raise ValueError(
                f"zoo needs float32, but layer {layer.name!r} computes in "
                f"{layer.compute_dtype}; load the model under "
                "keras.config.set_dtype_policy('float32')"
            )
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if (
            tf.config.list_logical_devices("GPU")
            and tf.config.experimental.tensor_float_32_execution_enabled()
        ):
            raise ValueError(
                "zoo needs float32, but TF32 is on; call "
                "tf.config.experimental.enable_tensor_float_32_execution(False)"
            )
    elif keras.backend.backend() == "jax":
        import jax

        # JAX makes the attributes of its settings when it runs.
        config: Any = jax.config
        if jax.default_backend() != "cpu" and config.jax_default_matmul_precision not in (
            "float32",
            "highest",
        ):
            raise ValueError(
                "zoo needs float32, but matrix products may use TF32 or bfloat16; call "
                "jax.config.update('jax_default_matmul_precision', 'highest')"
            )
    require_exact_arithmetic()


@contextlib.contextmanager
def double_precision():
    """A context in which tensors may be float64 and their products are computed in float64.

    JAX needs to be told both. Its setting ``jax_default_matmul_precision`` may ask for products in
    bfloat16, of float64 operands too.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    import jax
    import jax.experimental

    # Older releases of JAX have the context there.
    former: Any = jax.experimental
    x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else former.enable_x64
    with x64(True), jax.default_matmul_precision("highest"):
        yield
