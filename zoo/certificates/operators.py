"""Keras's layers as operators that bounds can be pushed through, forwards and backwards."""

import math

import keras
import numpy as np
from keras import ops

from zoo.certificates import batch_normalization
from zoo.certificates.activation_lines import ACTIVATIONS, Piecewise
from zoo.certificates.graph import advice_on, nodes_of
from zoo.certificates.model_state import require_float32_weight
from zoo.errors import UnsupportedLayerError
from zoo.ops.gradients import input_gradient
from zoo.ops.precision import LARGEST, SMALLEST_NORMAL, sum_rounding

SUPPORTED = (
    "Dense, Conv2D without groups and dilation, BatchNormalization, Add, Flatten, Reshape, "
    "Dropout, SpatialDropout2D, ZeroPadding2D, Rescaling, AveragePooling2D, "
    "GlobalAveragePooling2D, MaxPooling2D, GlobalMaxPooling2D, ReLU, LeakyReLU, and Activation "
    "(linear, relu, leaky_relu, sigmoid, tanh, softplus, also in Dense and Conv2D)"
)
# An error that is not known, because sums may overflow: no box that holds it proves anything. It is
# finite, so that TensorFlow's own search for infinities and NaN finds none here.
_UNKNOWN = 1e300
# Errors are bounded to first order; what is left out is less than this.
_SECOND_ORDER = 1.001


class Operator:
    """One step of a network, from the tensors at some places to that at a new one.

    Attributes:
        layer: the Keras layer that it is, or is part of.
        inputs: places: 0 is the network's input, ``i + 1`` the output of operator ``i``.
        isometry: a factor by which it stretches every difference in L2, or None.

    Bounds are of what the network computes in float32, not of what it would compute exactly:
    ``rounding`` bounds the difference that one operator makes.
    """

    isometry = None

    @property
    def width(self):
        """Numbers that one row takes on its way back."""
        return math.prod(self.input_shape)

    def __init__(self, layer, inputs, input_shape):
        self.layer, self.inputs, self.input_shape = layer, inputs, input_shape
        if getattr(layer, "data_format", "channels_last") == "channels_first":
            refuse(layer, "has its channels first")
        if getattr(layer, "quantization_mode", None):
            refuse(layer, "is quantised")
        self.check()

    def check(self):
        """Raise for settings that are not supported."""

    def prepare(self):
        """Read the weights as they are now."""

    def interval(self, boxes):
        """Box of the output over boxes ``(lower, upper)`` of the inputs."""
        raise NotImplementedError

    def relax(self, boxes):
        """What :meth:`backward` needs to know of the input boxes."""
        return

    def backward(self, rows, relaxed):
        """From rows over the output to rows over the inputs that are nowhere larger.

        Args:
            rows: tensor ``(batch, rows, *output_shape)``.
            relaxed: what :meth:`relax` returned.

        Returns:
            ``(list of rows for each input, offset)``, the offset a tensor ``(batch, rows)``.
        """
        raise NotImplementedError


class Affine(Operator):
    """Linear in its inputs, plus an offset.

    A subclass gives ``linear``, the linear part of one input; ``absolute``, the same with the sizes
    of all factors; ``offset``, a tensor or 0; and ``roundings``, that one product goes through.
    """

    offset = 0.0
    roundings = 0
    # Of the factors, in size.
    largest = 1.0

    def linear(self, tensor):
        """The linear part, of a tensor ``(batch, *input_shape)``."""
        # Not by calling the layer, which would turn the tensor into float32.
        return self.layer.call(tensor)

    def absolute(self, tensor):
        """The linear part with factors' sizes; by default none is negative."""
        return self.linear(tensor)

    def interval(self, boxes):
        lower, upper = boxes[0]
        center = self.linear((lower + upper) / 2.0) + self.offset
        spread = self.absolute((upper - lower) / 2.0) + self.rounding(boxes)
        return center - spread, center + spread

    def rounding(self, boxes):
        """Bound of float32's error: tensor ``(batch, *output_shape)``."""
        return self._error(boxes, self.absolute(_sizes(boxes[0])) + abs(self.offset))

    def _error(self, boxes, size):
        """The bound where products' sizes add up to no more than ``size``."""
        if not self.roundings:
            return 0.0
        inputs = _sizes(boxes[0])
        inputs = ops.max(inputs, axis=tuple(range(1, len(inputs.shape))))
        inputs = ops.reshape(inputs, (-1, *[1] * (len(size.shape) - 1)))
        # Inputs, factors and results that are taken for zero.
        flushed = self.roundings * SMALLEST_NORMAL * (1.0 + self.largest + inputs)
        error = _SECOND_ORDER * sum_rounding(self.roundings) * size + flushed
        return ops.where(self.roundings * size < LARGEST, error, _UNKNOWN)

    def relax(self, boxes):
        return self.rounding(boxes)

    def backward(self, rows, relaxed):
        offset = _products(rows, self.offset) - _products(ops.abs(rows), relaxed)
        return [self.transposed(rows)], offset

    def transposed(self, rows):
        """Rows ``(batch, rows, *output_shape)`` through the transposed linear part."""
        flat = ops.reshape(rows, (-1, *rows.shape[2:]))
        zeros = ops.zeros((flat.shape[0], *self.input_shape), "float64")
        flat = input_gradient(lambda x: self.linear(x) * flat, zeros)
        return ops.reshape(flat, (*rows.shape[:2], *self.input_shape))


class Kernel(Affine):
    """A dense layer or a convolution, without its activation."""

    def check(self):
        if (
            getattr(self.layer, "groups", 1) != 1
            or math.prod(getattr(self.layer, "dilation_rate", (1,))) != 1
        ):
            refuse(self.layer, "has groups or dilation")

    def prepare(self):
        for name in ("kernel", "bias") if self.layer.use_bias else ("kernel",):
            require_float32_weight(self.layer, name)
        kernel = float64(self.layer.kernel)
        self.kernel = ops.convert_to_tensor(kernel, "float64")
        self.sizes = ops.abs(self.kernel)
        self.offset = float64(self.layer.bias) if self.layer.use_bias else np.zeros(1)
        self.offset = ops.convert_to_tensor(self.offset, "float64")
        self.roundings = math.prod(kernel.shape[:-1]) + 3
        self.largest = float(np.abs(kernel).max())

    def apply(self, tensor, kernel):
        raise NotImplementedError

    def linear(self, tensor):
        return self.apply(tensor, self.kernel)

    def absolute(self, tensor):
        return self.apply(tensor, self.sizes)

    def row_lengths(self):
        """L2 norm of each output's dependence on the input: ``(1, *output_shape)``."""
        ones = ops.ones((1, *self.input_shape), "float64")
        return ops.sqrt(self.apply(ones, ops.square(self.kernel)))


class Dense(Kernel):
    def apply(self, tensor, kernel):
        return ops.matmul(tensor, kernel)

    def transposed(self, rows):
        return ops.matmul(rows, ops.transpose(self.kernel))


class Convolution(Kernel):
    def apply(self, tensor, kernel):
        return ops.conv(
            tensor, kernel, self.layer.strides, self.layer.padding, data_format="channels_last"
        )


class Moved(Affine):
    """Moves entries around, adds zeros, or leaves everything alone."""

    isometry = 1.0

    def interval(self, boxes):
        return tuple(self.linear(end) for end in boxes[0])


class Unchanged(Moved):
    """Does nothing at inference."""

    def linear(self, tensor):
        return tensor

    def transposed(self, rows):
        return rows


class AveragePooling(Affine):
    def prepare(self):
        self.roundings = math.prod(getattr(self.layer, "pool_size", self.input_shape[:2])) + 3


class Scaling(Affine):
    """A factor and an offset for each entry, or each channel."""

    def linear(self, tensor):
        return tensor * self.factor

    def absolute(self, tensor):
        return tensor * ops.abs(self.factor)

    def transposed(self, rows):
        return rows * self.factor

    def _set(self, factor, offset, roundings):
        self.factor = ops.convert_to_tensor(factor, "float64")
        self.offset = ops.convert_to_tensor(offset, "float64")
        self.roundings = roundings
        self.largest = float(np.abs(factor).max())


class Normalisation(Scaling):
    """Batch normalisation at inference."""

    def check(self):
        if self.layer.axis not in (-1, len(self.input_shape)):
            refuse(self.layer, f"normalises axis {self.layer.axis}, not the channels")

    def prepare(self):
        constants = batch_normalization.normalization_of(self.layer)
        self.size, self.flushed, self.mean = constants.size, constants.flushed, constants.mean
        self._set(constants.factor, constants.shift, batch_normalization.ROUNDINGS)

    def rounding(self, boxes):
        sizes = _sizes(boxes[0])
        error = self._error(boxes, self.absolute(sizes) + self.size)
        return error + self.flushed * (sizes + self.mean)


class Rescaling(Scaling):
    def check(self):
        if np.ndim(self.layer.scale) or np.ndim(self.layer.offset):
            refuse(self.layer, "has a scale or an offset for each channel")

        if not max(abs(self.layer.scale), abs(self.layer.offset)) < LARGEST:
            refuse(self.layer, "has a scale or an offset that float32 cannot hold")

    def prepare(self):
        scale, offset = np.float64(self.layer.scale), np.float64(self.layer.offset)
        self.isometry = abs(float(scale))
        self._set(scale, offset, 4)


class Add(Affine):
    def prepare(self):
        self.roundings = len(self.inputs)

    def interval(self, boxes):
        error = self.rounding(boxes)
        lower, upper = (sum(box[end] for box in boxes) for end in (0, 1))
        return lower - error, upper + error

    def rounding(self, boxes):
        return self._error(boxes, sum(_sizes(box) for box in boxes))

    def backward(self, rows, relaxed):
        return [rows] * len(self.inputs), -_products(ops.abs(rows), relaxed)


class Activation(Operator):
    """Entry by entry, between two lines."""

    def __init__(self, layer, inputs, input_shape, kind):
        self.kind = kind
        super().__init__(layer, inputs, input_shape)

    def interval(self, boxes):
        lower, upper = boxes[0]
        error = self.kind.rounding(_sizes(boxes[0]))
        return self.kind.value(lower) - error, self.kind.value(upper) + error

    def relax(self, boxes):
        lower, upper = boxes[0]
        error = self.kind.rounding(_sizes(boxes[0]))
        (a, b), (c, d) = self.kind.lines(lower, upper)
        return (a, b - error), (c, d + error)

    def backward(self, rows, relaxed):
        (below, below_offset), (above, above_offset) = relaxed
        positive, negative = ops.maximum(rows, 0.0), ops.minimum(rows, 0.0)
        offset = _products(positive, below_offset) + _products(negative, above_offset)
        return [positive * below[:, None] + negative * above[:, None]], offset


class MaxPooling(Operator):
    """The largest entry of each window."""

    def check(self):
        layer = self.layer
        everything = isinstance(layer, keras.layers.GlobalMaxPooling2D)
        self.size = self.input_shape[:2] if everything else layer.pool_size
        self.strides = self.size if everything else layer.strides
        self.padding = [(0, 0), (0, 0)]
        self.counts = [(n - k) // s + 1 for n, k, s in self._along()]
        if not everything and layer.padding == "same":
            self.counts = [math.ceil(n / s) for n, _, s in self._along()]
            for axis, (n, k, s) in enumerate(self._along()):
                missing = max((self.counts[axis] - 1) * s + k - n, 0)
                self.padding[axis] = (missing // 2, missing - missing // 2)

    @property
    def width(self):
        return math.prod(self.counts) * math.prod(self.size) * self.input_shape[-1]

    def _along(self):
        return zip(self.input_shape[:2], self.size, self.strides, strict=True)

    def interval(self, boxes):
        lower, upper = boxes[0]
        return self.layer.call(lower), self.layer.call(upper)

    def relax(self, boxes):
        """Below, the entry with the largest lower bound; above, the same entry where no other one
        can be larger, and otherwise the largest upper bound."""
        lower, upper = (self._windows(end, outside=-1e300) for end in boxes[0])
        chosen = ops.one_hot(ops.argmax(lower, axis=-1), lower.shape[-1], dtype="float64")
        others = ops.max(ops.where(chosen > 0, -1e300, upper), axis=-1)
        alone = ops.cast(others <= ops.max(lower, axis=-1), "float64")
        return chosen, alone, ops.max(upper, axis=-1)

    def backward(self, rows, relaxed):
        chosen, alone, largest = relaxed
        rows = ops.reshape(rows, (*rows.shape[:2], *alone.shape[1:]))
        positive, negative = ops.maximum(rows, 0.0), ops.minimum(rows, 0.0)
        offset = _products(negative, (1.0 - alone) * largest)
        rows = (positive + negative * alone[:, None])[..., None] * chosen[:, None]
        flat = ops.reshape(rows, (-1, *rows.shape[2:]))
        zeros = ops.zeros((flat.shape[0], *self.input_shape), "float64")
        flat = input_gradient(lambda x: self._windows(x) * flat, zeros)
        return [ops.reshape(flat, (*rows.shape[:2], *self.input_shape))], offset

    def _windows(self, tensor, outside=0.0):
        """Entries by window: ``(batch, rows, columns, channels, entries)``."""
        padded = ops.pad(tensor, [(0, 0), *self.padding, (0, 0)], constant_values=outside)
        slices = [
            [slice(i, i + (n - 1) * s + 1, s) for i in range(k)]
            for n, k, s in zip(self.counts, self.size, self.strides, strict=True)
        ]
        return ops.stack([padded[:, i, j] for i in slices[0] for j in slices[1]], axis=-1)


# Exact types: a subclass may compute something else.
_KINDS = {
    keras.layers.Add: Add,
    keras.layers.AveragePooling2D: AveragePooling,
    keras.layers.BatchNormalization: Normalisation,
    keras.layers.Conv2D: Convolution,
    keras.layers.Dense: Dense,
    keras.layers.Dropout: Unchanged,
    keras.layers.Flatten: Moved,
    keras.layers.GlobalAveragePooling2D: AveragePooling,
    keras.layers.GlobalMaxPooling2D: MaxPooling,
    keras.layers.MaxPooling2D: MaxPooling,
    keras.layers.Rescaling: Rescaling,
    keras.layers.Reshape: Moved,
    keras.layers.SpatialDropout2D: Unchanged,
    keras.layers.ZeroPadding2D: Moved,
}


def operators_of(model):
    """A network as operators, in the order they run; activations are operators of their own.

    Args:
        model: as for :func:`zoo.certificates.graph.nodes_of`.

    Returns:
        List of :class:`Operator`.

    Raises:
        UnsupportedLayerError: naming the first layer that is not supported, and what is.
    """
    operators, place_of = [], {0: 0}
    for index, node in enumerate(nodes_of(model), start=1):
        layer, inputs = node.layer, tuple(place_of[place] for place in node.inputs)
        kind = _KINDS.get(type(layer))
        if kind is not None:
            operators.append(kind(layer, inputs, node.input_shape))
            inputs = (len(operators),)
        activation = _activation_of(layer, known=kind is not None)
        if activation is not None:
            shape = tuple(layer.compute_output_shape((None, *node.input_shape))[1:])
            operators.append(Activation(layer, inputs, shape, activation))
            inputs = (len(operators),)
        place_of[index] = inputs[0]
    return operators


def _activation_of(layer, known):
    """What a layer ends with, or None."""
    if type(layer) in (keras.layers.ReLU, keras.layers.LeakyReLU):
        slope = float(layer.negative_slope)
        if getattr(layer, "threshold", 0.0) != 0 or getattr(layer, "max_value", None) is not None:
            refuse(layer, "has a threshold or a largest value")
        if not 0 <= slope <= 1:
            refuse(layer, f"has the slope {slope:g} below zero, outside of [0, 1]")
        return Piecewise(slope)
    if not known and type(layer) is not keras.layers.Activation:
        refuse(layer, "has no bounds")
    activation = getattr(layer, "activation", None)
    if activation is keras.activations.linear or (known and activation is None):
        return None
    # By identity: anyone's function may have the same name.
    kind = next((k for known, k in ACTIVATIONS if known is activation), None)
    if kind is None:
        name = getattr(activation, "__name__", type(activation).__name__)
        refuse(layer, f"has the activation {name}")
    return kind


def refuse(layer, reason):
    """Raise, naming the layer and what is supported."""
    raise UnsupportedLayerError(
        f"{type(layer).__name__} {layer.name!r} {reason}{advice_on(layer)}; "
        f"supported are: {SUPPORTED}"
    )


def float64(variable):
    """A weight as a NumPy array."""
    return ops.convert_to_numpy(variable).astype(np.float64)


def _sizes(box):
    return ops.maximum(*map(ops.abs, box))


def _products(rows, offset):
    """Each row's product with a tensor ``(batch or 1, *shape)``, or one that broadcasts to it."""
    if isinstance(offset, float):
        return 0.0
    offset = ops.reshape(offset, (*[1] * (len(rows.shape) - 1 - len(offset.shape)), *offset.shape))
    if len(offset.shape) == len(rows.shape) - 1:
        offset = offset[:, None]
    return ops.sum(rows * offset, axis=tuple(range(2, len(rows.shape))))
