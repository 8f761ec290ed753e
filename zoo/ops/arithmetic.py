"""Checks of how the backend really computes, before anything is proved about it.

A network is certified as float32 computes it. Many settings make a backend compute in fewer bits:
TF32 on NVIDIA GPUs, JAX's matmul precision, TensorFlow's graph optimiser, oneDNN's math mode. No
list of such settings is ever complete. So the backend is given probes, which are operations with
known results, and the errors of its results are compared with the errors that float32 may make.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Hashable
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.special import erf, expit

from zoo.ops.float32 import ACTIVATION_ROUNDINGS, TANH_ERROR, UNIT_ROUNDOFF, sum_rounding
from zoo.ops.precision import float64
from zoo.typing import Tensor

# Number of terms in each sum of the matrix product that is probed.
_SIZE = 64
# The compilers, with the settings of the backend, whose programs have already passed the probes.
_checked = set()


def require_exact_arithmetic() -> None:
    """Raise unless the backend multiplies, convolves and activates in true float32.

    Each probe runs eagerly at every call. It runs compiled as well (by XLA, and by TensorFlow's own
    graph executor) once for each state of the backend's settings.

    Raises:
        ValueError: naming the operation, how it was executed, and the settings that may be why.
    """
    probes = _probes()
    functions = [function for function, *_ in probes.values()]
    _require(probes, [f(*x) for f, x in zip(functions, _operands(), strict=True)], "eagerly")
    settings = settings_of_backend()

    def together(*operands: Any) -> list[Any]:
        return [function(*x) for function, x in zip(functions, operands, strict=True)]

    for how, compiled in _compilers().items():
        if (how, settings) in _checked:
            continue
        # One program for all probes takes a fraction of the time that one for each of them takes.
        # A compiler that fails here cannot compile a model either, so it needs no check. For
        # example, XLA fails while TensorFlow checks every tensor for NaN and infinity.
        with contextlib.suppress(*_errors_of_compilation()):
            _require(probes, compiled(together)(*_operands()), how)
            _checked.add((how, settings))


def _operands() -> list[list[Tensor]]:
    return [[ops.convert_to_tensor(x) for x in operands] for _, operands, *_ in _probes().values()]


def _require(probes: dict[str, tuple[Any, ...]], results: list[Tensor], how: str) -> None:
    for (name, (_, _, expected, allowed)), result in zip(probes.items(), results, strict=True):
        error = np.abs(float64(result) - expected)
        if not (error <= allowed).all():
            worst = float(np.max(error / allowed))
            raise ValueError(
                f"zoo needs float32, but a {name} that is executed {how} is wrong by "
                f"{worst:.3g} times the error that certificates allow, as if it were computed in "
                f"bfloat16 or TF32, by a transform or by an approximation; {_advice()}"
            )


@functools.cache
def _probes() -> dict[str, tuple[Any, ...]]:
    """``{name: (function, operands, exact result, allowed error)}``."""
    # The rows and columns are constant and use all bits of the mantissa. If a backend drops bits,
    # the errors of all terms have the same sign, so that they add up instead of cancelling.
    factors = 1.0 + np.random.default_rng(0).uniform(size=(2, _SIZE))
    rows = np.repeat(factors[0][:, None], _SIZE, axis=1).astype(np.float32)
    columns = np.repeat(factors[1][None], _SIZE, axis=0).astype(np.float32)
    exact = rows.astype(np.float64) @ columns.astype(np.float64)
    probes: dict[str, tuple[Any, ...]] = {
        "matrix product": (ops.matmul, (rows, columns), exact, sum_rounding(_SIZE) * np.abs(exact))
    }
    for size, channels in ((3, 16), (5, 4)):
        probes[f"{size} × {size} convolution"] = _convolution_probe(size, channels)
    # The allowed errors are those that the certificates count for activations and for a reciprocal
    # root. Settings for fast mathematics use approximations with larger errors.
    x = np.concatenate([np.linspace(-30, 30, 2001), np.geomspace(1e-6, 90, 500)]).astype(np.float32)
    wide, positive = x.astype(np.float64), np.geomspace(1e-25, 1e25, 501).astype(np.float32)
    bent = np.expm1(np.minimum(wide, 0.0))
    allowed = ACTIVATION_ROUNDINGS * UNIT_ROUNDOFF * (1.0 + np.abs(wide))
    for function, exact in (
        (ops.sigmoid, expit(wide)),
        (ops.softplus, np.logaddexp(0.0, wide)),
        (ops.elu, np.where(wide > 0, wide, bent)),
        (ops.selu, 1.0507009873554805 * np.where(wide > 0, wide, 1.6732632423543772 * bent)),
        (ops.silu, wide * expit(wide)),
        (_gelu, 0.5 * wide * (1.0 + erf(wide / np.sqrt(2.0)))),
        (ops.softsign, wide / (1.0 + np.abs(wide))),
        (ops.hard_sigmoid, np.clip(wide / 6.0 + 0.5, 0.0, 1.0)),
    ):
        probes[function.__name__.strip("_")] = function, (x,), exact, allowed
    probes["tanh"] = ops.tanh, (x,), np.tanh(wide), np.minimum(allowed, TANH_ERROR)
    root = 1.0 / np.sqrt(positive.astype(np.float64))
    probes["rsqrt"] = ops.rsqrt, (positive,), root, sum_rounding(6) * root
    return probes


def _gelu(x):
    return ops.gelu(x, approximate=False)


def _convolution_probe(size: int, channels: int) -> tuple[Any, ...]:
    """A dark image with one bright pixel, which reveals convolutions by transforms.

    The error of a direct sum is relative to the terms of that sum. Winograd's and Fourier's
    algorithms mix all pixels of a tile, so that the error of the bright pixel reaches outputs whose
    windows do not contain it.
    """
    random = np.random.default_rng(size)
    images = random.uniform(1.0, 2.0, size=(1, 12, 12, channels)).astype(np.float32)
    images[0, 5, 5] *= np.float32(2.0**16)
    kernel = random.uniform(1.0, 2.0, size=(size, size, channels, 8)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(images[0], (size, size), axis=(0, 1))
    exact = np.einsum("yxcij,ijco->yxo", windows.astype(np.float64), kernel.astype(np.float64))

    def convolution(images: Tensor, kernel: Tensor) -> Tensor:
        return ops.conv(images, kernel, padding="valid", data_format="channels_last")

    return convolution, (images, kernel), exact[None], sum_rounding(size * size * channels) * exact


def _compilers() -> dict[str, Callable[[Any], Any]]:
    """Ways to compile a function, by the names that they have in error messages."""
    if keras.backend.backend() == "jax":
        import jax

        return {"compiled by XLA": lambda function: jax.jit(lambda *x: function(*x))}
    import tensorflow as tf

    def by(**options: Any) -> Callable[[Any], Any]:
        # Autograph must not rewrite Keras's own functions.
        return lambda function: tf.function(function, autograph=False, **options)

    return {"in a TensorFlow graph": by(), "compiled by XLA": by(jit_compile=True)}


def _errors_of_compilation() -> tuple[type[Exception], ...]:
    if keras.backend.backend() == "jax":
        return ()
    import tensorflow as tf

    return (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)


def settings_of_backend() -> Hashable:
    """The backend's settings, as something that can be compared."""
    if keras.backend.backend() == "jax":
        import jax

        settings = repr(sorted(jax.config.values.items(), key=str))
        # JAX creates the attributes of its config at run time, so type checkers do not know them.
        config: Any = jax.config
        # A context manager may set `jax_disable_jit`, which `values` does not show.
        return settings, config.jax_disable_jit, str(jax.devices())
    import tensorflow as tf

    return (
        repr(sorted(tf.config.optimizer.get_experimental_options().items())),
        tf.config.optimizer.get_jit(),
        tf.config.functions_run_eagerly(),
        tf.config.experimental.tensor_float_32_execution_enabled(),
    )


def _advice() -> str:
    """A hint for error messages: the settings that may be the cause, with their values."""
    found = {}
    if keras.backend.backend() == "jax":
        import jax

        config: Any = jax.config
        found["jax_default_matmul_precision"] = config.jax_default_matmul_precision
    else:
        import tensorflow as tf

        options = tf.config.optimizer.get_experimental_options()
        found.update({f"tf.config.optimizer option {k}": v for k, v in options.items() if v})
        if tf.config.list_logical_devices("GPU"):
            found["TF32"] = tf.config.experimental.tensor_float_32_execution_enabled()
    for name in ("ONEDNN_DEFAULT_FPMATH_MODE", "TF_SET_ONEDNN_FPMATH_MODE", "XLA_FLAGS"):
        if name in os.environ:
            found[name] = os.environ[name]
    known = ", ".join(f"{name} = {value}" for name, value in found.items())
    return f"look at {known}" if known else "look at the settings of the backend and the device"
