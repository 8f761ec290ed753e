"""L2 Lipschitz constants of Keras's own layers, and the errors float32 makes in them."""

import collections
import dataclasses
import math

import keras
import numpy as np
from keras import ops

from zoo.bounds import batch_normalization
from zoo.bounds.graph import advice_on, nodes_of
from zoo.bounds.model_state import require_float32_weight
from zoo.errors import UnsupportedLayerError
from zoo.layers.flatten import Flatten
from zoo.layers.max_min import MaxMin
from zoo.layers.norm_pooling import NormPooling2D
from zoo.layers.two_sided_relu import TwoSidedReLU
from zoo.ops.norm_estimate import power_iteration
from zoo.ops.precision import LARGEST, flushing, sum_rounding
from zoo.ops.singular_values import average_pooling_norm, convolution_norm, dense_norm, overlaps

SUPPORTED = (
    "Dense, Conv2D without groups and dilation, BatchNormalization, ReLU, LeakyReLU, Activation "
    "(relu, leaky_relu, linear, also in Dense and Conv2D), MaxPooling2D, AveragePooling2D, "
    "GlobalMaxPooling2D, GlobalAveragePooling2D, Add, Flatten, Reshape, Dropout, "
    "SpatialDropout2D, ZeroPadding2D, Rescaling, and zoo's nonexpansive layers without weights"
)
# The terms of a rounding that is the product of two are left out, and made up for by this.
_SECOND_ORDER = 1.001


@dataclasses.dataclass(frozen=True)
class Constants:
    """What a layer does to two inputs, and to one input's error, in L2.

    Attributes:
        lipschitz: upper bound of the Lipschitz constant with respect to each input.
        per_size, offset: float32 adds an error of at most ``per_size · ‖inputs‖ + offset``.
        sum_per_size, sum_offset: the sums on the way, before a batch normalisation makes them
            smaller, are at most ``sum_per_size · ‖inputs‖ + sum_offset``.
    """

    lipschitz: float
    per_size: float = 0.0
    offset: float = 0.0
    sum_per_size: float = 0.0
    sum_offset: float = 0.0


class LayerBound:
    """The bounds of one use of a layer.

    Attributes:
        name: of the layer, with a number where it is not the first of that name.
        inputs: which outputs go in: 0 is the image, ``i + 1`` the i-th bound's.
        layer: the Keras layer.
        input_shape: without the batch.
        has_norm: whether it has a kernel, whose norm training estimates.
    """

    has_norm = False

    def __init__(self, layer, inputs, input_shape):
        self.name, self.layer, self.inputs = layer.name, layer, inputs
        self.input_shape = input_shape
        if getattr(layer, "data_format", "channels_last") == "channels_first":
            self._refuse("has its channels first")
        if getattr(layer, "quantization_mode", None):
            self._refuse("is quantised")
        self.check()

    def check(self):
        """Raise for settings that are not supported."""

    def constants(self):
        """Upper bounds in float64: :class:`Constants`."""
        raise NotImplementedError

    def _constants(self, lipschitz, per_size, offset=0.0, *, terms=1, entries=None, weight=1.0):
        """:class:`Constants` with what is lost of numbers too small for float32.

        Args:
            lipschitz, per_size, offset: without that.
            terms, entries, weight: as for :func:`zoo.ops.precision.flushing`; by default as many
                entries as go in.
        """
        entries = math.prod(self.input_shape) if entries is None else entries
        lost_per_size, lost = flushing(terms, entries, weight)
        return Constants(lipschitz, per_size + lost_per_size, offset + lost)

    def estimate(self):
        """The Lipschitz constant for training: a number, or a tensor."""
        return self.constants().lipschitz

    def outputs(self, tensors):
        """What the layer makes of its inputs at inference."""
        return self.layer(tensors[0] if len(tensors) == 1 else tensors)

    def _refuse(self, reason):
        raise UnsupportedLayerError(
            f"{type(self.layer).__name__} {self.name!r} {reason}{advice_on(self.layer)}; "
            f"supported are: {SUPPORTED}"
        )


class _Unchanged(LayerBound):
    """Moves entries around, or leaves them alone, or out."""

    def constants(self):
        return Constants(1.0)


class _Relu(LayerBound):
    """Piecewise linear activations."""

    def check(self):
        if getattr(self.layer, "threshold", 0.0) != 0:
            self._refuse("has a threshold, where it jumps")

    def constants(self):
        slope = max(1.0, abs(float(getattr(self.layer, "negative_slope", 0.0))))
        return self._constants(slope, sum_rounding(1) * slope, weight=slope)


class _Activation(LayerBound):
    def check(self):
        if not _is_nonexpansive(self.layer.activation):
            self._refuse(f"computes {_name(self.layer.activation)}")

    def constants(self):
        return self._constants(1.0, sum_rounding(1))


class _Linear(LayerBound):
    """A kernel, and the batch normalisation after it if that is all that follows."""

    has_norm = True
    normalisation = None

    def check(self):
        if not _is_nonexpansive(self.layer.activation):
            self._refuse(f"has the activation {_name(self.layer.activation)}")
        if (
            getattr(self.layer, "groups", 1) != 1
            or math.prod(getattr(self.layer, "dilation_rate", (1,))) != 1
        ):
            self._refuse("has groups or dilation")

    @property
    def can_fold(self):
        return self.normalisation is None and self.layer.activation is keras.activations.linear

    def norm(self, kernel):
        """Upper bound of the norm with another kernel."""
        raise NotImplementedError

    def linear(self, inputs, kernel):
        """``inputs`` through the kernel."""
        raise NotImplementedError

    @property
    def positions(self):
        """Outputs per filter."""
        raise NotImplementedError

    def constants(self):
        for name in ("kernel", "bias") if self.layer.use_bias else ("kernel",):
            require_float32_weight(self.layer, name)
        kernel = _float64(self.layer.kernel)
        bias = np.linalg.norm(_float64(self.layer.bias)) if self.layer.use_bias else 0.0
        bias, absolute = bias * math.sqrt(self.positions), self.norm(np.abs(kernel))
        terms = math.prod(kernel.shape[:-1]) + 3
        local = sum_rounding(terms)
        if self.normalisation is None:
            scale, largest, offset, flushed = 1.0, 1.0, 0.0, 0.0
        else:
            local += sum_rounding(batch_normalization.ROUNDINGS)
            scale, flushed, offset = _normalisation_constants(self.normalisation, self.positions)
            largest = np.abs(scale).max()
            if not np.isfinite(largest):
                return Constants(math.inf, math.inf, math.inf)
        # Of the sums, which the normalisation may stretch, and of the normalisation.
        weight = max(1.0, largest) * max(1.0, np.abs(kernel).max())
        constants = self._constants(
            self.norm(kernel * scale),
            _SECOND_ORDER * (local * largest + flushed) * absolute,
            _SECOND_ORDER * ((local * largest + flushed) * bias + offset),
            terms=(terms + batch_normalization.ROUNDINGS) * max(1.0, largest),
            entries=self.positions * kernel.shape[-1],
            weight=weight,
        )
        return dataclasses.replace(constants, sum_per_size=absolute, sum_offset=bias)

    def estimate(self, vector):
        """The norm by a step of power iteration: ``(value, vector)``."""
        kernel = ops.convert_to_tensor(self.layer.kernel)
        if self.normalisation is not None:
            kernel = kernel * _normalisation_scale(self.normalisation)
        estimate, vector = power_iteration(lambda v: self.linear(v, kernel), vector)
        return estimate.value, vector

    def outputs(self, tensors):
        outputs = super().outputs(tensors)
        return outputs if self.normalisation is None else self.normalisation(outputs)


class _Dense(_Linear):
    def norm(self, kernel):
        return dense_norm(kernel)

    def linear(self, inputs, kernel):
        return ops.matmul(inputs, kernel)

    @property
    def positions(self):
        return math.prod(self.input_shape[:-1])


class _Convolution(_Linear):
    def norm(self, kernel):
        return convolution_norm(
            kernel, self.input_shape[:2], self.layer.strides, self.layer.padding
        )

    def linear(self, inputs, kernel):
        return ops.conv(
            inputs, kernel, self.layer.strides, self.layer.padding, data_format="channels_last"
        )

    @property
    def positions(self):
        shape = self.layer.compute_output_shape((None, *self.input_shape))
        return math.prod(shape[1:3])


class _Normalisation(LayerBound):
    """Batch normalisation that no kernel comes right before."""

    def check(self):
        if self.layer.axis not in (-1, len(self.input_shape)):
            self._refuse(f"normalises axis {self.layer.axis}, not the channels")

    def constants(self):
        positions = math.prod(self.input_shape[:-1])
        scale, flushed, offset = _normalisation_constants(self.layer, positions)
        largest, terms = float(np.abs(scale).max()), batch_normalization.ROUNDINGS
        if not np.isfinite(largest):
            return Constants(math.inf, math.inf, math.inf)
        per_size = sum_rounding(terms) * largest + flushed
        return self._constants(largest, per_size, offset, terms=terms, weight=largest)

    def estimate(self):
        return ops.max(ops.abs(_normalisation_scale(self.layer)))


class _Rescaling(LayerBound):
    def check(self):
        settings = np.concatenate([np.ravel(self.layer.scale), np.ravel(self.layer.offset)])
        if not (np.abs(settings.astype(np.float64)) < LARGEST).all():
            self._refuse("has a scale or an offset that float32 cannot hold")

    def constants(self):
        scale = float(np.abs(np.asarray(self.layer.scale, np.float64)).max())
        offset = np.broadcast_to(np.asarray(self.layer.offset, np.float64), self.input_shape)
        # The settings themselves are rounded to float32.
        rounding = sum_rounding(4)
        added = rounding * float(np.linalg.norm(offset))
        return self._constants(scale, rounding * scale, added, terms=4, weight=scale)


class _MaxPooling(LayerBound):
    """A pixel is the largest of at most as many windows as it lies in."""

    def constants(self):
        return self._constants(math.sqrt(overlaps(self.layer.pool_size, self.layer.strides)), 0.0)


class _AveragePooling(LayerBound):
    def constants(self):
        settings = (self.layer.pool_size, self.layer.strides, self.layer.padding)
        norm = average_pooling_norm(self.input_shape[:2], *settings)
        terms = math.prod(self.layer.pool_size) + 3
        return self._constants(norm, sum_rounding(terms) * norm, terms=terms)


class _GlobalAverage(LayerBound):
    def constants(self):
        pixels = math.prod(self.input_shape[:-1])
        norm = (1.0 + 1e-15) / math.sqrt(pixels)
        return self._constants(norm, sum_rounding(pixels + 3) * norm, terms=pixels + 3)


class _Add(LayerBound):
    def constants(self):
        return self._constants(1.0, sum_rounding(len(self.inputs)), terms=len(self.inputs))


class _Nonexpansive(LayerBound):
    """Layers of this package that know by themselves."""

    def constants(self):
        offset, slope = (float(self.layer.rounding(size, 0.0)[1]) for size in (0.0, 1.0))
        return Constants(float(self.layer.lipschitz()), slope - offset, offset)


# Exact types: a subclass may compute something else.
_BOUNDS = {
    keras.layers.Activation: _Activation,
    keras.layers.Add: _Add,
    keras.layers.AveragePooling2D: _AveragePooling,
    keras.layers.BatchNormalization: _Normalisation,
    keras.layers.Conv2D: _Convolution,
    keras.layers.Dense: _Dense,
    keras.layers.Dropout: _Unchanged,
    keras.layers.Flatten: _Unchanged,
    keras.layers.GlobalAveragePooling2D: _GlobalAverage,
    keras.layers.GlobalMaxPooling2D: _Unchanged,
    keras.layers.LeakyReLU: _Relu,
    keras.layers.MaxPooling2D: _MaxPooling,
    keras.layers.ReLU: _Relu,
    keras.layers.Rescaling: _Rescaling,
    keras.layers.Reshape: _Unchanged,
    keras.layers.SpatialDropout2D: _Unchanged,
    keras.layers.ZeroPadding2D: _Unchanged,
    Flatten: _Nonexpansive,
    MaxMin: _Nonexpansive,
    NormPooling2D: _Nonexpansive,
    TwoSidedReLU: _Nonexpansive,
}


def layer_bounds(model):
    """The bounds of all layers of a model, in the order they run.

    Batch normalisation right after a dense layer or a convolution, with nothing else in between or
    beside, is folded into it: the norm of the product is at most the product of the norms.

    Args:
        model: as for :func:`zoo.bounds.graph.nodes_of`.

    Returns:
        List of :class:`LayerBound`.

    Raises:
        UnsupportedLayerError: naming the first layer that has no bound, and what is supported.
    """
    nodes = nodes_of(model)
    uses = [sum(place in node.inputs for node in nodes) for place in range(len(nodes) + 1)]
    bounds, place_of = [], {0: 0}
    for index, node in enumerate(nodes, start=1):
        inputs = tuple(place_of[place] for place in node.inputs)
        bound = _bound_of(node, inputs)
        before = bounds[inputs[0] - 1] if inputs[0] else None
        if isinstance(bound, _Normalisation) and uses[node.inputs[0]] == 1 and _can_fold(before):
            before.normalisation = node.layer
            place_of[index] = inputs[0]
        else:
            bounds.append(bound)
            place_of[index] = len(bounds)
    _number_equal_names(bounds)
    return bounds


def _number_equal_names(bounds):
    """Layers may be used twice, and models inside models have names of their own."""
    counts = collections.Counter()
    for bound in bounds:
        counts[bound.layer.name] += 1
        if counts[bound.layer.name] > 1:
            bound.name = f"{bound.layer.name} #{counts[bound.layer.name]}"


def _can_fold(bound):
    return isinstance(bound, _Linear) and bound.can_fold


def _bound_of(node, inputs):
    kind = _BOUNDS.get(type(node.layer))
    if kind is None:
        raise UnsupportedLayerError(
            f"{type(node.layer).__name__} {node.layer.name!r} has no sound bound of its Lipschitz "
            f"constant{advice_on(node.layer)}; supported are: {SUPPORTED}"
        )
    return kind(node.layer, inputs, node.input_shape)


def _is_nonexpansive(activation):
    """Whether it is Keras's own: anyone's function may have the same name."""
    known = keras.activations
    return any(activation is one for one in (known.linear, known.relu, known.leaky_relu))


def _name(activation):
    return getattr(activation, "__name__", type(activation).__name__)


def _float64(variable):
    return ops.convert_to_numpy(variable).astype(np.float64)


def _normalisation_constants(layer, positions):
    """``(scale, flushed, offset)`` of a batch normalisation.

    Scale per channel; the error that flushed factors add, per size of the inputs; and the error in
    what is added, over all positions. All are infinite where float32 cannot hold a number that is
    met on the way.
    """
    constants = batch_normalization.normalization_of(layer)
    if not np.isfinite(constants.size).all():
        return np.full_like(constants.factor, np.inf), math.inf, math.inf
    error = sum_rounding(batch_normalization.ROUNDINGS) * constants.size
    error = error + constants.flushed * constants.mean
    offset = float(np.linalg.norm(error)) * math.sqrt(positions)
    return constants.factor, float(constants.flushed.max()), offset


def _normalisation_scale(layer):
    """Scale per channel, differentiable."""
    scale = ops.rsqrt(ops.convert_to_tensor(layer.moving_variance) + layer.epsilon)
    return scale * layer.gamma if layer.scale else scale
