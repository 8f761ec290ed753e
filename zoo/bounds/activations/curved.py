"""SiLU and GELU: smooth functions that fall to a minimum and rise again."""

from collections.abc import Callable

import numpy as np
from keras import ops

from zoo.bounds.activations.narrow import NARROW
from zoo.ops.float32 import ACTIVATION_ROUNDINGS, UNIT_ROUNDOFF
from zoo.typing import Box, Line, Tensor
from zoo.utils.float64 import LINE_SLACK

# An interval is divided into this many parts; the function's distance from a line is computed at
# their ends.
_PARTS = 32


class Curved:
    """A function whose first and second derivatives are bounded.

    Between two points at a distance h, the function deviates from its chord by at most
    ``h² / 8 · sup |f''|``. So its values at a few points bound its distance from any line, and a
    line of any slope can be shifted until it is below or above the function.

    Args:
        value, derivative: functions of a tensor.
        minimum: ``(place, value)`` of the only minimum: the function falls before it and rises
            after it. The value is rounded down.
        lipschitz: upper bound of ``|f'|``.
        bend: upper bound of ``|f''|``.
    """

    exact_where_stable = False
    increasing = False
    derivatives = None

    def __init__(
        self,
        value: Callable[[Tensor], Tensor],
        derivative: Callable[[Tensor], Tensor],
        minimum: tuple[float, float],
        lipschitz: float,
        bend: float,
    ) -> None:
        self.value, self.derivative = value, derivative
        self.minimum, self.lipschitz, self.bend = minimum, lipschitz, bend

    def rounding(self, size: Tensor) -> Tensor:
        return ACTIVATION_ROUNDINGS * UNIT_ROUNDOFF * (1.0 + size)

    def interval(self, lower: Tensor, upper: Tensor) -> Box:
        low, high = self.value(lower), self.value(upper)
        place, least = self.minimum
        # `place` is rounded, so an interval that ends within NARROW of it is taken to contain the
        # minimum. `least` is a lower bound of all values, so this is sound.
        inside = (lower <= place + NARROW) & (upper >= place - NARROW)
        return ops.where(inside, least, ops.minimum(low, high)), ops.maximum(low, high)

    def lines(self, lower: Tensor, upper: Tensor) -> tuple[Line, Line]:
        width = upper - lower
        chord = (self.value(upper) - self.value(lower)) / ops.maximum(width, NARROW)
        narrow = width < NARROW
        above = ops.where(narrow, 0.0, chord)
        below = ops.where(narrow, 0.0, self.derivative((lower + upper) / 2.0))
        steps = ops.convert_to_tensor(np.linspace(0.0, 1.0, _PARTS + 1), lower.dtype)
        points = lower[..., None] + width[..., None] * steps
        values = self.value(points)
        size = 1.0 + ops.maximum(ops.abs(lower), ops.abs(upper))

        def reach(slope: Tensor) -> Tensor:
            """How much farther the function may be from the line between the points than there."""
            part = width / _PARTS
            by_slope = (self.lipschitz + ops.abs(slope)) * part / 2.0
            by_bend = self.bend * ops.square(part) / 8.0
            return ops.minimum(by_slope, by_bend) + LINE_SLACK * size * (1.0 + ops.abs(slope))

        low = ops.min(values - below[..., None] * points, axis=-1) - reach(below)
        high = ops.max(values - above[..., None] * points, axis=-1) + reach(above)
        return (below, low), (above, high)
