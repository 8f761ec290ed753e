"""Lines above and below activations over intervals, and what float32 adds to them."""

import keras
import numpy as np
from keras import ops

from zoo.ops.precision import ACTIVATION_ROUNDINGS, UNIT_ROUNDOFF

# Of intervals this short the ends alone are taken.
_NARROW = 1e-6
# Lines are moved apart by what float64 may round in them, relative to their terms.
_SLACK = 1e-12
_STEPS = 30


class Piecewise:
    """ReLU and LeakyReLU: ``slope · x`` below zero, ``x`` above.

    Args:
        slope: in [0, 1].
    """

    def __init__(self, slope=0.0):
        self.slope = float(np.float32(slope))

    def value(self, x):
        return ops.maximum(x, self.slope * x)

    def rounding(self, size):
        """Bound of float32's error where inputs are no larger than ``size``."""
        return UNIT_ROUNDOFF * self.slope * size

    def lines(self, lower, upper):
        """Slopes and offsets ``(a, b)`` below and ``(a, b)`` above, over each interval."""
        width = ops.maximum(upper - lower, _NARROW)
        chord = (self.value(upper) - self.value(lower)) / width
        # Of an interval that is too narrow for a chord, a steeper one through the upper end.
        above = ops.where(lower >= 0, 1.0, ops.where(upper <= 0, self.slope, chord))
        narrow = (upper - lower < _NARROW) & (lower < 0) & (upper > 0)
        above = ops.where(narrow, self.slope, above)
        offset = self.value(upper) - above * upper
        offset = ops.where((lower >= 0) | (upper <= 0), 0.0, offset)
        offset = offset + _SLACK * (ops.abs(lower) + ops.abs(upper)) * ops.cast(
            (lower < 0) & (upper > 0), offset.dtype
        )
        # Of the two lines through the origin, the one that leaves the smaller area.
        steep, flat = ops.ones_like(lower), self.slope * ops.ones_like(lower)
        below = ops.where((lower >= 0) | ((upper > 0) & (upper > -lower)), steep, flat)
        return (below, ops.zeros_like(below)), (above, offset)


class Smooth:
    """An increasing activation, convex up to zero and concave from there on, or convex all over.

    Args:
        value, derivative: functions of a tensor.
        convex: whether it is convex everywhere.
    """

    def __init__(self, value, derivative, convex=False):
        self.value, self.derivative, self.convex = value, derivative, convex

    def rounding(self, size):
        """Bound of float32's error where inputs are no larger than ``size``."""
        return ACTIVATION_ROUNDINGS * UNIT_ROUNDOFF * (1.0 + size)

    def lines(self, lower, upper):
        """Slopes and offsets ``(a, b)`` below and ``(a, b)`` above, over each interval."""
        above = self._chord(lower, upper) if self.convex else self._above(lower, upper, 1.0)
        if self.convex:
            middle = (lower + upper) / 2.0
            slope = self.derivative(middle)
            below = slope, self.value(middle) - slope * middle
        else:
            # Of the function turned by half a turn around the origin.
            slope, offset = self._above(-upper, -lower, -1.0)
            below = slope, -offset
        narrow = upper - lower < _NARROW
        zeros = ops.zeros_like(lower)
        flat = (zeros, self.value(lower)), (zeros, self.value(upper))
        below, above = (
            [ops.where(narrow, a, b) for a, b in zip(constant, line, strict=True)]
            for constant, line in zip(flat, (below, above), strict=True)
        )
        size = ops.maximum(ops.abs(lower), ops.abs(upper))
        slacks = [_SLACK * (1.0 + size * (1.0 + ops.abs(line[0]))) for line in (below, above)]
        return (below[0], below[1] - slacks[0]), (above[0], above[1] + slacks[1])

    def _chord(self, lower, upper):
        width = ops.maximum(upper - lower, _NARROW)
        slope = (self.value(upper) - self.value(lower)) / width
        return slope, self.value(lower) - slope * lower

    def _above(self, lower, upper, sign):
        """A line above ``sign · value(sign · x)``, which is S-shaped too."""

        def value(x):
            return sign * self.value(sign * x)

        def derivative(x):
            return self.derivative(sign * x)

        width = ops.maximum(upper - lower, _NARROW)
        chord = (value(upper) - value(lower)) / width
        # The first point whose tangent is above the lower end; the upper bound always is one.
        left = ops.maximum(lower, 0.0)
        right = ops.maximum(upper, left)
        for _ in range(_STEPS):
            middle = (left + right) / 2.0
            enough = value(middle) + derivative(middle) * (lower - middle) >= value(lower)
            left, right = ops.where(enough, left, middle), ops.where(enough, middle, right)
        # Where all is concave, the tangent in the middle is the better one.
        point = ops.where(lower >= 0, (lower + upper) / 2.0, right)
        tangent = derivative(point)
        # Convex, or bent so little that the chord stays above.
        by_chord = (upper <= 0) | ((lower < 0) & (derivative(upper) >= chord))
        slope = ops.where(by_chord, chord, tangent)
        offset = ops.where(by_chord, value(lower) - chord * lower, value(point) - tangent * point)
        return slope, offset


def sigmoid_slope(x):
    """Derivative of the sigmoid."""
    value = ops.sigmoid(x)
    return value * (1.0 - value)


def tanh_slope(x):
    """Derivative of the hyperbolic tangent."""
    return 1.0 - ops.square(ops.tanh(x))


def softsign_slope(x):
    """Derivative of ``x / (1 + |x|)``."""
    return 1.0 / ops.square(1.0 + ops.abs(x))


def elu_slope(x):
    """Derivative of the exponential linear unit with ``alpha = 1``, which is convex."""
    return ops.exp(ops.minimum(x, 0.0))


#: Keras's functions, and what stands for each.
ACTIVATIONS = (
    (keras.activations.relu, Piecewise()),
    (keras.activations.leaky_relu, Piecewise(0.2)),
    (keras.activations.sigmoid, Smooth(ops.sigmoid, sigmoid_slope)),
    (keras.activations.tanh, Smooth(ops.tanh, tanh_slope)),
    (keras.activations.softplus, Smooth(ops.softplus, ops.sigmoid, convex=True)),
    (keras.activations.softsign, Smooth(ops.softsign, softsign_slope)),
    (keras.activations.elu, Smooth(ops.elu, elu_slope, convex=True)),
)
