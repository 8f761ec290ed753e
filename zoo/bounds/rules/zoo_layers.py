"""Rules for the layers of :mod:`zoo.layers`."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from zoo.bounds.activations import Piecewise
from zoo.bounds.graph import Node
from zoo.bounds.rules.affine import KernelRule
from zoo.bounds.rules.conv import require_right_sums
from zoo.bounds.rules.lipschitz_bound import LipschitzBound
from zoo.bounds.rules.merge import WeightedSumRule
from zoo.bounds.rules.rows import products, sizes
from zoo.bounds.rules.rule import Rule, refuse, register_rule
from zoo.bounds.rules.scaling import BatchNormalizationRule, ScalingRule
from zoo.bounds.rules.shape import MovedRule, UnchangedRule
from zoo.layers.augmentation import Augmentation
from zoo.layers.convex_residual import ConvexResidual
from zoo.layers.equalized_dense import EqualizedDense
from zoo.layers.flatten import Flatten
from zoo.layers.linf_distance import LinfDistance
from zoo.layers.linf_distance_conv import LinfDistanceConv2D
from zoo.layers.max_min import MaxMin
from zoo.layers.mean_shift import MeanShift
from zoo.layers.nonexpansive_conv import NonexpansiveConv2D
from zoo.layers.nonexpansive_dense import NonexpansiveDense
from zoo.layers.norm_pooling import NormPooling2D
from zoo.layers.pixel_shuffle import PixelShuffle, PixelUnshuffle
from zoo.layers.roll import Roll
from zoo.layers.two_sided_relu import TwoSidedReLU
from zoo.ops import linf_interval, linf_interval_conv
from zoo.ops.blocked_matmul import blocked_matmul
from zoo.ops.float32 import (
    LARGEST,
    SECOND_ORDER,
    SMALLEST_NORMAL,
    UNIT_ROUNDOFF,
    sum_rounding,
)
from zoo.ops.precision import float64
from zoo.ops.singular_values import dense_norm
from zoo.ops.windows import Windows
from zoo.typing import Array, Box, Line, Tensor

if TYPE_CHECKING:
    from zoo.bounds.network_rules import Builder

register_rule(Flatten, PixelShuffle, PixelUnshuffle, Roll)(MovedRule)
register_rule(Augmentation)(UnchangedRule)


class _NonexpansiveRule(Rule):
    """A layer that bounds its own Lipschitz constant and the error that float32 makes in it."""

    def lipschitz(self) -> LipschitzBound:
        return bound_of_nonexpansive(self.layer)


def bound_of_nonexpansive(layer: keras.layers.Layer) -> LipschitzBound:
    """The :class:`LipschitzBound` of a layer that has methods ``lipschitz`` and ``rounding``."""
    # The error bound is affine in the norm of the inputs. Its value at a large norm, divided by
    # that norm, is never below the slope, but a difference of two values could cancel to zero.
    offset, large = (float(layer.rounding(size, 0.0)[1]) for size in (0.0, _LARGE))
    return LipschitzBound(float(layer.lipschitz()), large / _LARGE, offset)


# A norm at which error bounds are evaluated.
_LARGE = 2.0**60


class _OneReLURule(_NonexpansiveRule):
    """A layer whose outputs are linear in its inputs and in ``relu(d)``, where d is linear in them.

    A linear function of the outputs is then linear in ``relu(d)`` too, so one relaxation of
    ``relu(d)`` serves all outputs that share it. Nothing is rounded: every output is an entry of
    the input, its negative, or 0.
    """

    wants_tight_inputs = True

    def relax(self, boxes: Sequence[Box]) -> tuple[Line, Line]:
        return Piecewise().lines(*self.argument(*boxes[0]))

    def argument(self, lower: Tensor, upper: Tensor) -> Box:
        """The box of d, from the box of the input."""
        raise NotImplementedError

    def slopes(self, rows: Tensor, relaxed: tuple[Line, Line]) -> tuple[Tensor, Tensor]:
        """``(slopes, offset)`` such that ``slopes · d + offset`` is at most ``rows · relu(d)``."""
        (below, below_offset), (above, above_offset) = relaxed
        positive, negative = ops.maximum(rows, 0.0), ops.minimum(rows, 0.0)
        offset = products(positive, below_offset) + products(negative, above_offset)
        return positive * below[:, None] + negative * above[:, None], offset


@register_rule(MaxMin)
class MaxMinRule(_OneReLURule):
    """For ``d = a - b``, ``max(a, b) = b + relu(d)`` and ``min(a, b) = a - relu(d)``."""

    def interval(self, boxes: Sequence[Box]) -> Box:
        lower, upper = boxes[0]
        return self.layer.call(lower), self.layer.call(upper)

    def apart(self, inputs: Sequence[Tensor], boxes: Sequence[Box], box: Box) -> Tensor:
        # Neither maximum nor minimum moves further than the one that moves most.
        larger = ops.maximum(*ops.split(inputs[0], 2, axis=-1))
        return ops.concatenate([larger, larger], axis=-1)

    def argument(self, lower: Tensor, upper: Tensor) -> Box:
        (low_a, low_b), (high_a, high_b) = (ops.split(end, 2, axis=-1) for end in (lower, upper))
        return low_a - high_b, high_a - low_b

    def backward(self, rows: Tensor, relaxed: tuple[Line, Line]) -> tuple[list[Tensor], Tensor]:
        # r · max + s · min = r · b + s · a + (r - s) · relu(a - b)
        r, s = ops.split(rows, 2, axis=-1)
        slope, offset = self.slopes(r - s, relaxed)
        return [ops.concatenate([s + slope, r - slope], axis=-1)], offset


@register_rule(TwoSidedReLU)
class TwoSidedReLURule(_OneReLURule):
    """For ``d = x``, the outputs are ``relu(d)`` and ``relu(-x) = relu(d) - x``."""

    exact_where_stable = True

    def interval(self, boxes: Sequence[Box]) -> Box:
        lower, upper = boxes[0]
        low, high = (self.layer.call(end) for end in (lower, upper))
        # The second half of the outputs decreases as the input grows, so its ends are swapped.
        (first, second), (third, fourth) = (ops.split(end, 2, axis=-1) for end in (low, high))
        ends = ((first, fourth), (third, second))
        return tuple(ops.concatenate(end, axis=-1) for end in ends)

    def apart(self, inputs: Sequence[Tensor], boxes: Sequence[Box], box: Box) -> Tensor:
        return ops.concatenate([inputs[0], inputs[0]], axis=-1)

    def argument(self, lower: Tensor, upper: Tensor) -> Box:
        return lower, upper

    def backward(self, rows: Tensor, relaxed: tuple[Line, Line]) -> tuple[list[Tensor], Tensor]:
        r, s = ops.split(rows, 2, axis=-1)
        slope, offset = self.slopes(r + s, relaxed)
        return [slope - s], offset


@register_rule(NormPooling2D)
class NormPoolingRule(_NonexpansiveRule):
    """The root of a sum of squares, with interval bounds and without linear relaxation."""

    def check(self) -> None:
        layer = self.layer
        self.windows = Windows(self.input_shape[:2], layer.pool_size, layer.strides, layer.padding)

    def lipschitz(self) -> LipschitzBound:
        # Squares of larger inputs could overflow.
        return dataclasses.replace(super().lipschitz(), largest_input=1e18)

    def interval(self, boxes: Sequence[Box]) -> Box:
        lower, upper = boxes[0]
        least = ops.where((lower <= 0) & (upper >= 0), 0.0, ops.minimum(abs(lower), abs(upper)))
        ends = (least, sizes(boxes[0]))
        low, high = (ops.sqrt(ops.sum(ops.square(self.windows.entries(end)), -1)) for end in ends)
        factor = self.layer.repeats**-0.5
        # The layer raises sums of squares below 1e-24 to 1e-24, and float32 may flush tiny squares
        # to zero. Both change a root by less than 1e-9.
        error = sum_rounding(math.prod(self.windows.size) + 16) * high + 1e-9
        error = ops.where(ops.square(high) < LARGEST, error, 1e300)
        return factor * low - error, factor * high + error


class _EffectiveKernelRule(KernelRule):
    """A nonexpansive layer, which computes the kernel that it uses from the trained one."""

    limits = ""
    # Curvature bounds do not count the error of computing the kernel, so there are none.
    second_order = Rule.second_order
    folds = False

    def weights(self) -> tuple[Array, Array]:
        kernel = float64(self.layer.effective_kernel())
        return kernel, np.zeros(1) if self.layer.bias is None else float64(self.layer.bias)

    def prepare(self) -> None:
        super().prepare()
        # Each way of executing the layer (eager, compiled, another device) rounds the effective
        # kernel differently.
        self.kernel_error = self.layer._kernel_rounding()

    def rounding(self, boxes: Sequence[Box]) -> Tensor:
        error = super().rounding(boxes) + self.absolute(sizes(boxes[0])) * self.kernel_error
        return error if np.isfinite(self.kernel_error) else ops.full_like(error, 1e300)

    def depth(self, kernel: Array) -> int:
        return self.layer._roundings + self.layer._entry_roundings + 3

    @property
    def relative_to_sums(self) -> bool:
        return self.layer._kernel_rounding() == 0.0

    def compute(self, tensors: Sequence[Tensor]) -> Tensor:
        return self.layer(tensors[0])

    def trained(self, tensor: Tensor) -> Tensor:
        return self.apply(tensor, self.layer.effective_kernel())

    def lipschitz(self, normalization: BatchNormalizationRule | None = None) -> LipschitzBound:
        self.require_constants_in_range()
        bound, (_, bias) = bound_of_nonexpansive(self.layer), self.weights()
        bias = float(np.linalg.norm(np.broadcast_to(bias, self.output_shape)))
        absolute = self.layer.norms().absolute
        merged = SECOND_ORDER * sum_rounding(self.merged_roundings)
        of_bias = SECOND_ORDER * sum_rounding(self.merged_roundings + self.offset_roundings)
        return dataclasses.replace(
            bound,
            per_size=bound.per_size + merged * absolute,
            offset=bound.offset + of_bias * bias,
            sum_per_size=absolute,
            sum_offset=bias,
        )


@register_rule(NonexpansiveDense)
class NonexpansiveDenseRule(_EffectiveKernelRule):
    def check(self) -> None:
        # The layer bounds its error for the number of positions that it was built for.
        if self.input_shape[:-1] != self.layer._positions_shape:
            built = (*self.layer._positions_shape, self.input_shape[-1])
            refuse(self.layer, f"was built for {built}, but is applied to {self.input_shape}")

    def apply(self, tensor: Tensor, kernel: Tensor) -> Tensor:
        return ops.matmul(tensor, kernel)

    def computed(self, tensor: Tensor, kernel: Tensor) -> Tensor:
        return blocked_matmul(tensor, kernel)


@register_rule(NonexpansiveConv2D)
class NonexpansiveConv2DRule(_EffectiveKernelRule):
    def check(self) -> None:
        # The layer bounds its norm and its error for images of the size that it was built for.
        if self.input_shape[:2] != self.layer.image_shape:
            built = (*self.layer.image_shape, self.input_shape[-1])
            refuse(self.layer, f"was built for {built}, but is applied to {self.input_shape}")
        layer = self.layer
        windows = Windows(layer.image_shape, layer.kernel_size, layer.strides, layer.padding)
        require_right_sums(layer, windows, self.input_shape[-1])

    def apply(self, tensor: Tensor, kernel: Tensor) -> Tensor:
        layer = self.layer
        return ops.conv(tensor, kernel, layer.strides, layer.padding, data_format="channels_last")


@register_rule(EqualizedDense)
class EqualizedDenseRule(KernelRule):
    limits = "with a factor in [1e-30, 1e30]"

    def check(self) -> None:
        # Float32 flushes a smaller factor to zero.
        if not 1e-30 < abs(self.layer.factor) < 1e30:
            refuse(self.layer, f"has the factor {self.layer.factor:g}, outside of [1e-30, 1e30]")

    def weights(self) -> tuple[Array, Array]:
        # The layer rounds the factor to float32, and then its products with the kernel. `count`
        # counts these two roundings.
        kernel = float64(self.layer.kernel) * self.layer.factor
        kernel = np.where(np.abs(kernel) < LARGEST, kernel, np.inf)
        return kernel, np.zeros(1) if self.layer.bias is None else float64(self.layer.bias)

    def count(self, kernel: Array) -> int:
        return super().count(kernel) + 2

    def flushed_terms(self, kernel: Array) -> float:
        # Float32 may flush an entry of the kernel to zero before the factor enlarges it.
        return super().flushed_terms(kernel) * max(1.0, abs(self.layer.factor))

    def apply(self, tensor: Tensor, kernel: Tensor) -> Tensor:
        return ops.matmul(tensor, kernel)

    def trained(self, tensor: Tensor) -> Tensor:
        return self.apply(tensor, self.layer.kernel * self.layer.factor)

    def norm(self, kernel: Array) -> float:
        return dense_norm(kernel)


@register_rule(MeanShift)
class MeanShiftRule(ScalingRule):
    """At inference the layer is a translation."""

    isometry = 1.0

    def prepare(self) -> None:
        self._set(np.ones(1), -float64(self.layer.mean), 2)

    def trained(self, tensor: Tensor) -> Tensor:
        return tensor


@register_rule(LinfDistance, LinfDistanceConv2D)
class LinfDistanceRule(Rule):
    """The distances of the weights to the nearest and farthest points of a box bound the output."""

    def prepare(self) -> None:
        layer = self.layer
        self.bias = np.zeros(1) if layer.bias is None else float64(layer.bias)
        self.largest = float(ops.max(ops.abs(layer.kernel)))

    def interval(self, boxes: Sequence[Box]) -> Box:
        # The distances are computed in float32, so the box is rounded outwards to float32 first.
        lower, upper = (ops.convert_to_numpy(end).astype(np.float32) for end in boxes[0])
        infinity = np.float32(np.inf)
        ends = self._distances(np.nextafter(lower, -infinity), np.nextafter(upper, infinity))
        low, high = (float64(end) for end in ends)
        # A difference is rounded once here and once in the network, and adding the bias rounds once
        # more: three roundings, for which 6 leaves a margin.
        size = np.maximum(np.abs(lower), np.abs(upper)).astype(np.float64)
        size = size.max(axis=tuple(range(1, size.ndim)), keepdims=True)
        size = size + self.largest + np.abs(self.bias)
        error = 6.0 * UNIT_ROUNDOFF * size + 4.0 * SMALLEST_NORMAL
        ends = low + self.bias - error, high + self.bias + error
        return tuple(ops.convert_to_tensor(end, "float64") for end in ends)

    def _distances(self, lower: Array, upper: Array) -> Box:
        """``(low, high)`` without the bias."""
        layer = self.layer
        if isinstance(layer, LinfDistanceConv2D):
            options = {"strides": layer.strides, "padding": layer.padding, "groups": layer.groups}
            options["implementation"] = layer.implementation
            return linf_interval_conv(lower, upper, layer.kernel, **options)
        low, high = (end.reshape(-1, end.shape[-1]) for end in (lower, upper))
        ends = linf_interval(low, high, layer.kernel, implementation=layer.implementation)
        return tuple(ops.reshape(end, (*lower.shape[:-1], layer.units)) for end in ends)


@register_rule(ConvexResidual)
class ConvexResidualRule(WeightedSumRule):
    """``(1 - t) · shortcut + t · branch``; both paths are expanded into their layers."""

    limits = "of layers that have the same bounds"

    @classmethod
    def expand(cls, builder: "Builder", node: Node, inputs: tuple[int, ...]) -> int:
        places = []
        for path in (node.layer.shortcut, node.layer.branch):
            (place,), shape = inputs, node.input_shape
            for layer in path:
                place = builder.expand(Node(layer, (place,), shape), (place,))
                shape = builder.shape_of(place)
            places.append(place)
        shapes = [builder.shape_of(place) for place in places]
        if shapes[0] != shapes[1]:
            ends = f"a shortcut {shapes[0]} and a branch {shapes[1]}"
            refuse(node.layer, f"has {ends} for inputs {node.input_shape}")
        mixed = cls(node.layer, tuple(places), builder.shape_of(places[0]))
        return builder.add(mixed)

    # Its terms are products of differences, and the shortcut is used twice.
    may_be_merged = False

    def factors(self) -> list[float]:
        t = self.layer.share()
        return [1.0 - t, t]

    def prepare(self) -> None:
        self.roundings = self.layer.roundings()

    def error_sizes(self, values: Sequence[Any]) -> Any:
        # As for `term_sizes`.
        shortcut, branch = values
        return 2.0 * shortcut + branch

    def term_sizes(self, boxes: Sequence[Box]) -> Tensor:
        # The layer computes shortcut + t (branch - shortcut), with t at most 1.
        shortcut, branch = map(sizes, boxes)
        return 2.0 * shortcut + branch

    def compute(self, tensors: Sequence[Tensor]) -> Tensor:
        shortcut, branch = tensors
        return shortcut + ops.sigmoid(self.layer.mixing_logit) * (branch - shortcut)

    def trained_merge(self, values: Sequence[Any]) -> Tensor:
        t = ops.sigmoid(self.layer.mixing_logit)
        shortcut, branch = values
        return (1.0 - t) * shortcut + t * branch
