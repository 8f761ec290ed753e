"""ReLU, LeakyReLU and PReLU: linear on either side of zero."""

import numpy as np
from keras import ops

from zoo.bounds.activations.narrow import NARROW
from zoo.ops.float32 import SMALLEST_NORMAL, UNIT_ROUNDOFF
from zoo.typing import ArrayLike, Box, Line, Tensor
from zoo.utils.float64 import LINE_SLACK


class Piecewise:
    """``slope · x`` below zero, ``x`` above.

    Args:
        slope: a number, or an array that broadcasts against the inputs. It is rounded to float32,
            because the layer rounds it too.
    """

    exact_where_stable = True
    derivatives = None

    def __init__(self, slope: ArrayLike = 0.0) -> None:
        slope = np.asarray(np.asarray(slope, np.float32), np.float64)
        self.slope = float(slope) if slope.ndim == 0 else slope
        self.lipschitz = float(np.maximum(1.0, np.abs(slope)).max())
        self.increasing = bool(np.all(slope >= 0))

    def value(self, x: Tensor) -> Tensor:
        return ops.where(x >= 0, x, ops.cast(self.slope, x.dtype) * x)

    def rounding(self, size: Tensor) -> Tensor:
        # Only the product is rounded, and a product with 0 or 1 is exact. The input, the product
        # and a subnormal slope may be flushed to zero.
        steepness = np.abs(self.slope)
        flushed = SMALLEST_NORMAL * (1.0 + steepness) * (1.0 - np.isin(self.slope, (0.0, 1.0)))
        subnormal = np.where(steepness < SMALLEST_NORMAL, steepness, 0.0)
        return (UNIT_ROUNDOFF * steepness + subnormal) * size + flushed

    def interval(self, lower: Tensor, upper: Tensor) -> Box:
        low, high = self.value(lower), self.value(upper)
        # With a negative slope the function falls to 0 and rises again.
        least, most = ops.minimum(low, high), ops.maximum(low, high)
        crosses = (lower < 0) & (upper > 0)
        return ops.where(crosses, ops.minimum(least, 0.0), least), most

    def lines(self, lower: Tensor, upper: Tensor) -> tuple[Line, Line]:
        slope = ops.cast(self.slope, lower.dtype) * ops.ones_like(lower)
        one, zero = ops.ones_like(lower), ops.zeros_like(lower)
        crosses = (lower < 0) & (upper > 0)
        chord = (self.value(upper) - self.value(lower)) / ops.maximum(upper - lower, NARROW)
        # The chord's slope is lost in rounding if the interval is too narrow. The line with the
        # left piece's slope through the upper end is on the same side of the function.
        chord = ops.where(upper - lower < NARROW, slope, chord)
        offset = ops.where(crosses, self.value(upper) - chord * upper, 0.0)
        slack = ops.where(crosses, LINE_SLACK * (ops.abs(lower) + ops.abs(upper)), 0.0)
        exact = ops.where(lower >= 0, one, slope)
        chord = ops.where(crosses, chord, exact)
        # The lines of both pieces are on the other side of the function. The one that leaves the
        # smaller area is taken.
        piece = ops.where((lower >= 0) | ((upper > 0) & (upper > -lower)), one, slope)
        # For a slope of at most 1 the function is convex and below its chord; otherwise it is
        # concave and above its chord.
        convex = slope <= 1.0
        below = ops.where(convex, piece, chord), ops.where(convex, zero, offset - slack)
        above = ops.where(convex, chord, piece), ops.where(convex, offset + slack, zero)
        return below, above
