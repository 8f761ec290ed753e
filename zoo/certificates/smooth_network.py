"""A chain of linear maps and smooth activations, as matrices: what curvature is bounded of."""

import dataclasses
import math

import keras
import numpy as np
from keras import ops
from scipy.special import expit

from zoo.bounds.activation_lines import sigmoid_slope, tanh_slope
from zoo.bounds.graph import advice_on, nodes_of
from zoo.bounds.model_state import require_float32_weight
from zoo.errors import UnsupportedLayerError
from zoo.ops.precision import double_precision
from zoo.ops.singular_values import dense_norm

SUPPORTED = (
    "Flatten, Reshape and Dropout, one Conv2D as the first layer with weights, and Dense; "
    "softplus, sigmoid or tanh after each but the last, which is a Dense layer without activation"
)


@dataclasses.dataclass(frozen=True)
class SmoothActivation:
    """An activation whose first two derivatives are bounded.

    Attributes:
        value, slope: functions of a tensor.
        exact: the value as a function of a float64 array.
        steepest: upper bound of ``|σ'|``; σ' is not negative.
        bend: bounds of ``σ''`` from below and above.
        derivatives: σ' and ``σ''`` as functions of a float64 array.
        turns: for each of the two, the points where it turns from rising to falling or back.
        bounded: whether values lie in [-1, 1]; otherwise they exceed inputs by less than 1.
    """

    value: object
    slope: object
    exact: object
    steepest: float
    bend: tuple
    derivatives: tuple
    turns: tuple
    bounded: bool

    def ranges(self, low, high):
        """What σ' and ``σ''`` lie between, for inputs between two arrays: ``((low, high), …)``."""
        return tuple(map(_range, self.derivatives, self.turns, (low, low), (high, high)))


def _range(function, turns, low, high):
    values = [function(low), function(high)]
    inside = [(low <= turn) & (turn <= high) for turn in turns]
    values += [np.where(w, function(t), values[0]) for w, t in zip(inside, turns, strict=True)]
    # All these values are of size 1 or less.
    return np.min(values, axis=0) - 1e-12, np.max(values, axis=0) + 1e-12


def _logistic_slope(z):
    return expit(z) * expit(-z)


def _logistic_bend(z):
    return _logistic_slope(z) * (expit(-z) - expit(z))


def _tanh_slope(z):
    return 1.0 - np.tanh(z) ** 2


def _tanh_bend(z):
    return -2.0 * np.tanh(z) * _tanh_slope(z)


# The last digits are rounded away from zero: 1 / (6 √3) and 4 / (3 √3).
ACTIVATIONS = (
    (
        keras.activations.softplus,
        SmoothActivation(
            ops.softplus,
            ops.sigmoid,
            lambda z: np.logaddexp(0.0, z),
            1.0,
            (0.0, 0.25),
            (expit, _logistic_slope),
            ((), (0.0,)),
            False,
        ),
    ),
    (
        keras.activations.sigmoid,
        SmoothActivation(
            ops.sigmoid,
            sigmoid_slope,
            expit,
            0.25,
            (-0.0962250449, 0.0962250449),
            (_logistic_slope, _logistic_bend),
            ((0.0,), (-math.log(2 + math.sqrt(3)), math.log(2 + math.sqrt(3)))),
            True,
        ),
    ),
    (
        keras.activations.tanh,
        SmoothActivation(
            ops.tanh,
            tanh_slope,
            np.tanh,
            1.0,
            (-0.7698003590, 0.7698003590),
            (_tanh_slope, _tanh_bend),
            ((0.0,), (-math.atanh(1 / math.sqrt(3)), math.atanh(1 / math.sqrt(3)))),
            True,
        ),
    ),
)


class SmoothNetwork:
    """The linear maps of a network, and the activations between them.

    Args:
        model: built ``keras.Sequential`` or functional model in one chain of the layers in
            :data:`SUPPORTED`.

    Attributes:
        activations: :class:`SmoothActivation` after each linear map but the last.
        kernels, biases: float64 arrays ``(inputs, outputs)`` and ``(outputs,)`` of each linear map,
            as they were when :meth:`prepare` was last called.

    Raises:
        TypeError, ValueError: as :func:`zoo.bounds.graph.nodes_of`.
        zoo.UnsupportedLayerError: naming the first layer that does not fit, and what does.
    """

    def __init__(self, model):
        self.layers, self.activations = [], []
        nodes = nodes_of(model)
        for place, node in enumerate(nodes):
            if node.inputs != (place,):
                _refuse(node.layer, "is not in one chain with the others")
            self._add(node)
        if len(self.layers) < 2 or len(self.activations) != len(self.layers) - 1:
            _refuse(nodes[-1].layer, "is no last layer after at least one with an activation")
        self.kernels, self.biases = [], []

    def _add(self, node):
        layer, kind = node.layer, type(node.layer)
        if getattr(layer, "data_format", "channels_last") == "channels_first":
            _refuse(layer, "has its channels first")
        if getattr(layer, "quantization_mode", None):
            _refuse(layer, "is quantised")
        if math.prod(getattr(layer, "dilation_rate", (1,))) * getattr(layer, "groups", 1) != 1:
            _refuse(layer, "has groups or dilation")
        if kind in (keras.layers.Flatten, keras.layers.Reshape, keras.layers.Dropout):
            return
        convolution = kind is keras.layers.Conv2D and not self.layers
        if convolution or (kind is keras.layers.Dense and len(node.input_shape) == 1):
            if len(self.layers) != len(self.activations):
                _refuse(layer, "follows a layer without activation")
            self.layers.append((layer, node.input_shape))
            if layer.activation is keras.activations.linear:
                return
        elif kind is not keras.layers.Activation or len(self.layers) != len(self.activations) + 1:
            _refuse(layer, "does not fit")
        known = [smooth for function, smooth in ACTIVATIONS if function is layer.activation]
        if not known:
            name = getattr(layer.activation, "__name__", type(layer.activation).__name__)
            _refuse(layer, f"has the activation {name}")
        self.activations.append(known[0])

    def prepare(self):
        """Read the weights as they are now."""
        maps = [_matrix(layer, shape) for layer, shape in self.layers]
        self.kernels, self.biases = map(list, zip(*maps, strict=True))
        for (layer, _), kernel, bias in zip(self.layers, self.kernels, self.biases, strict=True):
            if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
                raise ValueError(f"layer {layer.name!r} has NaN or infinite weights")
        self._norms = None

    def norms(self):
        """Upper bounds of the L2 norms of the linear maps but the last."""
        if self._norms is None:
            self._norms = [dense_norm(kernel) for kernel in self.kernels[:-1]]
        return self._norms


def values_and_slopes(network, x, heads, offsets):
    """A combination of logits for each row, and its gradient.

    Args:
        network: ``(kernels, biases, activations)`` of all but the last layer; tensors.
        x: tensor ``(rows, inputs)``.
        heads: tensor ``(rows, units of the last hidden layer)``.
        offsets: tensor ``(rows,)``.

    Returns:
        ``(values, gradients)``: tensors ``(rows,)`` and ``(rows, inputs)``.
    """
    slopes, a = [], x
    for kernel, bias, activation in zip(*network, strict=True):
        z = ops.matmul(a, kernel) + bias
        a = activation.value(z)
        slopes.append(activation.slope(z))
    values, gradients = ops.sum(a * heads, axis=-1) + offsets, heads
    for kernel, slope in zip(reversed(network[0]), reversed(slopes), strict=True):
        gradients = ops.matmul(gradients * slope, ops.transpose(kernel))
    return values, gradients


def _matrix(layer, shape):
    """A layer's linear map as a matrix, and its bias for each output."""
    for name in ("kernel", "bias") if layer.use_bias else ("kernel",):
        require_float32_weight(layer, name)
    kernel = ops.convert_to_numpy(layer.kernel).astype(np.float64)
    bias = ops.convert_to_numpy(layer.bias).astype(np.float64) if layer.use_bias else np.zeros(1)
    if kernel.ndim == 4:
        impulses = np.eye(int(np.prod(shape))).reshape(-1, *shape)
        with double_precision():
            images = ops.convert_to_tensor(impulses, "float64")
            kernel = ops.conv(
                images,
                ops.convert_to_tensor(kernel, "float64"),
                layer.strides,
                layer.padding,
                data_format="channels_last",
            )
            kernel = ops.convert_to_numpy(kernel)
        bias = np.broadcast_to(bias, kernel.shape[1:]).reshape(-1)
        kernel = kernel.reshape(len(impulses), -1)
    return kernel, np.broadcast_to(bias, kernel.shape[1:])


def _refuse(layer, reason):
    raise UnsupportedLayerError(
        f"{type(layer).__name__} {layer.name!r} {reason}{advice_on(layer)}; "
        f"curvature is bounded of: {SUPPORTED}"
    )
