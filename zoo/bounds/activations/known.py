"""The activation functions of Keras that have bounds."""

import math
from collections.abc import Callable
from typing import TypeAlias

import keras
import numpy as np
from keras import ops
from scipy.special import expit

from zoo.bounds.activations.clipped import Clipped
from zoo.bounds.activations.curved import Curved
from zoo.bounds.activations.derivatives import Derivatives
from zoo.bounds.activations.piecewise import Piecewise
from zoo.bounds.activations.smooth import Smooth
from zoo.ops.float32 import TANH_ERROR
from zoo.typing import Numbers, Tensor

# SELU is ``_SELU_SCALE * x`` above zero and ``_SELU_SLOPE * (exp(x) - 1)`` below.
_SELU_SCALE, _SELU_SLOPE = 1.0507009873554805, 1.7580993408473766


def _sigmoid_slope(x: Tensor) -> Tensor:
    value = ops.sigmoid(x)
    return value * (1.0 - value)


def _tanh(x: Tensor) -> Tensor:
    if keras.backend.backend() != "jax" or keras.backend.standardize_dtype(x.dtype) != "float64":
        return ops.tanh(x)
    # On JAX, Keras's tanh of float64 is computed in float32, which no slack of these bounds covers.
    e = ops.expm1(-2.0 * ops.abs(x))
    return ops.sign(x) * (-e / (2.0 + e))


def _tanh_slope(x: Tensor) -> Tensor:
    return 1.0 - ops.square(_tanh(x))


def _softsign_slope(x: Tensor) -> Tensor:
    return 1.0 / ops.square(1.0 + ops.abs(x))


def _selu_slope(x: Tensor) -> Tensor:
    return ops.where(x < 0, _SELU_SLOPE * ops.exp(ops.minimum(x, 0.0)), _SELU_SCALE)


def _silu_slope(x: Tensor) -> Tensor:
    return ops.sigmoid(x) * (1.0 + x * ops.sigmoid(-x))


def _gelu(x: Tensor) -> Tensor:
    # TensorFlow's gelu of float64 divides by the square root of 2 as float32 has it.
    return 0.5 * x * (1.0 + ops.erf(x / math.sqrt(2.0)))


def _gelu_slope(x: Tensor) -> Tensor:
    density = ops.exp(-0.5 * ops.square(x)) / math.sqrt(2.0 * math.pi)
    return 0.5 * (1.0 + ops.erf(x / math.sqrt(2.0))) + x * density


def _logistic_slope(z: Numbers) -> Numbers:
    return expit(z) * expit(-z)


def _logistic_bend(z: Numbers) -> Numbers:
    return _logistic_slope(z) * (expit(-z) - expit(z))


def _exact_tanh_slope(z: Numbers) -> Numbers:
    return 1.0 - np.tanh(z) ** 2


def _tanh_bend(z: Numbers) -> Numbers:
    return -2.0 * np.tanh(z) * _exact_tanh_slope(z)


# The bounds of the second derivatives of sigmoid and tanh are ±1 / (6 √3) and ±4 / (3 √3), rounded
# away from zero.
_SOFTPLUS = Derivatives(
    slope=ops.sigmoid,
    exact=lambda z: np.logaddexp(0.0, z),
    steepest=1.0,
    bend=(0.0, 0.25),
    functions=(expit, _logistic_slope),
    turns=((), (0.0,)),
    bounded=False,
)
_SIGMOID = Derivatives(
    slope=_sigmoid_slope,
    exact=expit,
    steepest=0.25,
    bend=(-0.0962250449, 0.0962250449),
    functions=(_logistic_slope, _logistic_bend),
    turns=((0.0,), (-math.log(2 + math.sqrt(3)), math.log(2 + math.sqrt(3)))),
    bounded=True,
)
_TANH = Derivatives(
    slope=_tanh_slope,
    exact=np.tanh,
    steepest=1.0,
    bend=(-0.7698003590, 0.7698003590),
    functions=(_exact_tanh_slope, _tanh_bend),
    turns=((0.0,), (-math.atanh(1 / math.sqrt(3)), math.atanh(1 / math.sqrt(3)))),
    bounded=True,
)


def elu(alpha: float = 1.0) -> Smooth:
    """The exponential linear unit, ``alpha * (exp(x) - 1)`` below zero and x above.

    Args:
        alpha: not negative. Up to 1 the function is convex; above 1 it is S-shaped, as its slope
            falls from alpha to 1 at zero.
    """

    def value(x: Tensor) -> Tensor:
        return ops.where(x < 0, alpha * ops.expm1(ops.minimum(x, 0.0)), x)

    def slope(x: Tensor) -> Tensor:
        return ops.where(x < 0, alpha * ops.exp(ops.minimum(x, 0.0)), 1.0)

    return Smooth(value, slope, max(1.0, alpha), convex=alpha <= 1)


#: An object that bounds an activation function.
Activation: TypeAlias = Clipped | Curved | Piecewise | Smooth
#: Pairs of a Keras activation function and the object that bounds it.
ACTIVATIONS: tuple[tuple[Callable[[Tensor], Tensor], Activation], ...] = (
    (keras.activations.relu, Piecewise()),
    (keras.activations.leaky_relu, Piecewise(0.2)),
    (keras.activations.relu6, Clipped(0.0, 6.0)),
    (keras.activations.hard_sigmoid, Clipped(-3.0, 3.0, scale=1 / 6, offset=0.5)),
    (keras.activations.hard_tanh, Clipped(-1.0, 1.0)),
    (keras.activations.sigmoid, Smooth(ops.sigmoid, _sigmoid_slope, 0.25, derivatives=_SIGMOID)),
    (
        keras.activations.tanh,
        Smooth(_tanh, _tanh_slope, 1.0, error=TANH_ERROR, derivatives=_TANH),
    ),
    (
        keras.activations.softplus,
        Smooth(ops.softplus, ops.sigmoid, 1.0, convex=True, derivatives=_SOFTPLUS),
    ),
    (keras.activations.softsign, Smooth(ops.softsign, _softsign_slope, 1.0)),
    (keras.activations.elu, elu()),
    # The slope below zero is rounded up.
    (keras.activations.selu, Smooth(ops.selu, _selu_slope, 1.75809934085)),
    # Minima are rounded down; bounds of derivatives are rounded up.
    (
        keras.activations.silu,
        Curved(ops.silu, _silu_slope, (-1.27846454, -0.2784645428), 1.09983933, 0.5),
    ),
    (
        keras.activations.gelu,
        Curved(_gelu, _gelu_slope, (-0.75179152, -0.1699712075), 1.12890415, 0.7978845609),
    ),
)


def known_activation(function: Callable[[Tensor], Tensor] | None) -> Activation | None:
    """The object that bounds one of Keras's activation functions, or None.

    Functions are compared by identity, because a user's function may have the same name.
    """
    return next((kind for known, kind in ACTIVATIONS if known is function), None)
