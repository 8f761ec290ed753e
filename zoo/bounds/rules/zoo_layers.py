"""Layers of this package."""

import numpy as np
from keras import ops

from zoo.bounds.activation_lines import Piecewise
from zoo.bounds.rules.rule import Rule, float64, products, register_rule, sizes
from zoo.bounds.rules.shape import MovedRule
from zoo.layers.flatten import Flatten
from zoo.layers.linf_distance import LinfDistance
from zoo.layers.max_min import MaxMin
from zoo.layers.mean_shift import MeanShift
from zoo.layers.two_sided_relu import TwoSidedReLU
from zoo.ops import linf_interval
from zoo.ops.precision import SMALLEST_NORMAL, UNIT_ROUNDOFF

register_rule(Flatten)(MovedRule)


class _OneReLURule(Rule):
    """A layer whose outputs are linear in its inputs and in one ReLU of a linear function d.

    The rows' products with the output are linear in ``relu(d)`` too, so that one relaxation of it
    serves all outputs that share it. Nothing is rounded: outputs are entries of the input, or 0.
    """

    wants_tight_inputs = True

    def relax(self, boxes):
        return Piecewise().lines(*self.argument(*boxes[0]))

    def argument(self, lower, upper):
        """Box of d."""
        raise NotImplementedError

    def slopes(self, rows, relaxed):
        """Rows over d, and the offset, below ``rows · relu(d)``."""
        (below, below_offset), (above, above_offset) = relaxed
        positive, negative = ops.maximum(rows, 0.0), ops.minimum(rows, 0.0)
        offset = products(positive, below_offset) + products(negative, above_offset)
        return positive * below[:, None] + negative * above[:, None], offset


@register_rule(MaxMin)
class MaxMinRule(_OneReLURule):
    """With ``d = a - b``: ``max(a, b) = b + relu(d)`` and ``min(a, b) = a - relu(d)``."""

    def interval(self, boxes):
        lower, upper = boxes[0]
        return self.layer.call(lower), self.layer.call(upper)

    def argument(self, lower, upper):
        (low_a, low_b), (high_a, high_b) = (ops.split(end, 2, axis=-1) for end in (lower, upper))
        return low_a - high_b, high_a - low_b

    def backward(self, rows, relaxed):
        # r · max + s · min = r · b + s · a + (r - s) · relu(a - b)
        r, s = ops.split(rows, 2, axis=-1)
        slope, offset = self.slopes(r - s, relaxed)
        return [ops.concatenate([s + slope, r - slope], axis=-1)], offset


@register_rule(TwoSidedReLU)
class TwoSidedReLURule(_OneReLURule):
    """With ``d = x``: the outputs are ``relu(x)`` and ``relu(-x) = relu(x) - x``."""

    exact_where_stable = True

    def interval(self, boxes):
        lower, upper = boxes[0]
        low, high = (self.layer.call(end) for end in (lower, upper))
        # The second half falls as the input grows.
        (first, second), (third, fourth) = (ops.split(end, 2, axis=-1) for end in (low, high))
        ends = ((first, fourth), (third, second))
        return tuple(ops.concatenate(end, axis=-1) for end in ends)

    def argument(self, lower, upper):
        return lower, upper

    def backward(self, rows, relaxed):
        r, s = ops.split(rows, 2, axis=-1)
        slope, offset = self.slopes(r + s, relaxed)
        return [slope - s], offset


@register_rule(MeanShift)
class MeanShiftRule(Rule):
    """A translation, rounded once."""

    def prepare(self):
        self.mean = ops.convert_to_tensor(float64(self.layer.mean), "float64")

    def interval(self, boxes):
        lower, upper = (end - self.mean for end in boxes[0])
        error = self._error(boxes)
        return lower - error, upper + error

    def relax(self, boxes):
        return self._error(boxes)

    def backward(self, rows, relaxed):
        return [rows], -products(rows, self.mean) - products(ops.abs(rows), relaxed)

    def _error(self, boxes):
        return 2.0 * UNIT_ROUNDOFF * (sizes(boxes[0]) + ops.abs(self.mean)) + SMALLEST_NORMAL


@register_rule(LinfDistance)
class LinfDistanceRule(Rule):
    """A neuron lies between the distances of the nearest and the farthest point of the box."""

    def prepare(self):
        self.kernel = ops.convert_to_numpy(self.layer.kernel)
        self.bias = 0.0
        if self.layer.use_bias:
            self.bias = ops.convert_to_numpy(self.layer.bias).astype(np.float64)

    def interval(self, boxes):
        # The box as float32, rounded outwards: distances in float32 are exact but for roundings.
        lower, upper = (ops.convert_to_numpy(end).astype(np.float32) for end in boxes[0])
        infinity = np.float32(np.inf)
        lower, upper = np.nextafter(lower, -infinity), np.nextafter(upper, infinity)
        rows = (end.reshape(-1, end.shape[-1]) for end in (lower, upper))
        ends = linf_interval(*rows, self.kernel, implementation=self.layer.implementation)
        low, high = (
            ops.convert_to_numpy(end).astype(np.float64).reshape(*lower.shape[:-1], -1)
            for end in ends
        )
        # One rounding of each difference here and one in the network, and one of adding the bias.
        size = np.maximum(np.abs(lower), np.abs(upper)).max(axis=-1, keepdims=True)
        size = size + np.abs(self.kernel).max() + np.abs(self.bias)
        error = 6.0 * UNIT_ROUNDOFF * size.astype(np.float64) + 4.0 * SMALLEST_NORMAL
        ends = low + self.bias - error, high + self.bias + error
        return tuple(ops.convert_to_tensor(end, "float64") for end in ends)
