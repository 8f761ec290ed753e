"""ReLU6, hard sigmoid and hard tanh: linear functions that are clipped to a range."""

import numpy as np
from keras import ops

from zoo.bounds.activations.narrow import NARROW
from zoo.ops.float32 import ACTIVATION_ROUNDINGS, LARGEST, UNIT_ROUNDOFF
from zoo.typing import Box, Line, Tensor
from zoo.utils.float64 import LINE_SLACK


class Clipped:
    """``scale · clip(x, low, high) + offset``.

    Args:
        low, high: numbers, ``low < high``; None for no limit.
        scale: a positive number.
        offset: a number.
    """

    exact_where_stable = False
    increasing = True
    derivatives = None

    def __init__(
        self, low: float | None, high: float | None, scale: float = 1.0, offset: float = 0.0
    ) -> None:
        # Bounds beyond LARGEST prove nothing, so clipping there is as good as no limit.
        self.low = -LARGEST if low is None else float(low)
        self.high = LARGEST if high is None else float(high)
        self.scale, self.offset = float(scale), float(offset)
        self.lipschitz = self.scale
        self._rounds = (self.scale, self.offset) != (1.0, 0.0)
        # The layer rounds its limits to float32.
        limits = [abs(x) for x in (self.low, self.high) if abs(x) < LARGEST]
        self._limit_error = sum(abs(float(np.float32(x)) - x) for x in limits)

    def value(self, x: Tensor) -> Tensor:
        return self.scale * ops.clip(x, self.low, self.high) + self.offset

    def rounding(self, size: Tensor) -> Tensor:
        error = self.scale * self._limit_error
        if self._rounds:
            error = error + ACTIVATION_ROUNDINGS * UNIT_ROUNDOFF * (1.0 + size)
        return error + 0.0 * size

    def interval(self, lower: Tensor, upper: Tensor) -> Box:
        return self.value(lower), self.value(upper)

    def lines(self, lower: Tensor, upper: Tensor) -> tuple[Line, Line]:
        a, b = self._above(lower, upper, self.low, self.high)
        # clip(x, low, high) = -clip(-x, -high, -low), so a line above the latter gives one below.
        c, d = self._above(-upper, -lower, -self.high, -self.low)
        size = 1.0 + ops.maximum(ops.abs(lower), ops.abs(upper))
        below = self.scale * c, self.scale * (-d - LINE_SLACK * size) + self.offset
        above = self.scale * a, self.scale * (b + LINE_SLACK * size) + self.offset
        return below, above

    @staticmethod
    def _above(lower: Tensor, upper: Tensor, low: float, high: float) -> Line:
        """A line ``(a, b)`` above ``clip(x, low, high)``."""
        start, end = ops.clip(lower, low, high), ops.clip(upper, low, high)
        chord = (end - start) / ops.maximum(upper - lower, NARROW)
        # If the interval extends above `high`: the line from its lower end to the kink at `high`.
        rising = (high - start) / ops.maximum(high - lower, NARROW)
        middle = (lower + upper) / 2.0
        flat = (upper - lower < NARROW) | (upper <= low) | (lower >= high)
        beyond = (upper > high) & ((middle >= high) | (high - lower < NARROW))
        slope = ops.where(upper > high, rising, chord)
        slope = ops.where(flat | beyond, 0.0, slope)
        # A horizontal line has the value at the upper end. Any other line goes through the value at
        # the lower end.
        return slope, ops.where(flat | beyond, end, start - slope * lower)
