"""Sigmoid, tanh, softplus and other increasing functions that are S-shaped or convex."""

from collections.abc import Callable

from keras import ops

from zoo.bounds.activations.derivatives import Derivatives
from zoo.bounds.activations.narrow import NARROW
from zoo.ops.float32 import ACTIVATION_ROUNDINGS, UNIT_ROUNDOFF
from zoo.typing import Box, Line, Tensor
from zoo.utils.float64 import LINE_SLACK

# Number of bisection steps in the search for a tangent point.
_STEPS = 30


class Smooth:
    """An increasing activation: convex below zero and concave above it, or convex everywhere.

    Args:
        value, derivative: functions of a tensor.
        lipschitz: upper bound of the derivative.
        convex: whether it is convex everywhere.
        error: bound of float32's error for every input; None if the error grows with the input.
        derivatives: :class:`zoo.bounds.activations.derivatives.Derivatives`, or None.
    """

    exact_where_stable = False
    increasing = True

    def __init__(
        self,
        value: Callable[[Tensor], Tensor],
        derivative: Callable[[Tensor], Tensor],
        lipschitz: float,
        *,
        convex: bool = False,
        error: float | None = None,
        derivatives: Derivatives | None = None,
    ) -> None:
        self.value, self.derivative, self.convex = value, derivative, convex
        self.lipschitz, self.error, self.derivatives = lipschitz, error, derivatives

    def rounding(self, size: Tensor) -> Tensor:
        if self.error is not None:
            return self.error + 0.0 * size
        largest = max(1.0, self.lipschitz)
        return ACTIVATION_ROUNDINGS * UNIT_ROUNDOFF * largest * (1.0 + size)

    def interval(self, lower: Tensor, upper: Tensor) -> Box:
        return self.value(lower), self.value(upper)

    def lines(self, lower: Tensor, upper: Tensor) -> tuple[Line, Line]:
        if self.convex:
            above = self._chord(lower, upper)
            middle = (lower + upper) / 2.0
            slope = self.derivative(middle)
            below = slope, self.value(middle) - slope * middle
        else:
            above = _line_above(self.value, self.derivative, lower, upper)
            # g(x) = -value(-x) is S-shaped too, and a line above g gives a line below value.
            slope, offset = _line_above(
                lambda x: -self.value(-x), lambda x: self.derivative(-x), -upper, -lower
            )
            below = slope, -offset
        narrow = upper - lower < NARROW
        zeros = ops.zeros_like(lower)
        flat = (zeros, self.value(lower)), (zeros, self.value(upper))
        below, above = (
            [ops.where(narrow, a, b) for a, b in zip(constant, line, strict=True)]
            for constant, line in zip(flat, (below, above), strict=True)
        )
        size = ops.maximum(ops.abs(lower), ops.abs(upper))
        slacks = [LINE_SLACK * (1.0 + size * (1.0 + ops.abs(line[0]))) for line in (below, above)]
        return (below[0], below[1] - slacks[0]), (above[0], above[1] + slacks[1])

    def _chord(self, lower: Tensor, upper: Tensor) -> Line:
        width = ops.maximum(upper - lower, NARROW)
        slope = (self.value(upper) - self.value(lower)) / width
        return slope, self.value(lower) - slope * lower


def _line_above(
    value: Callable[[Tensor], Tensor],
    derivative: Callable[[Tensor], Tensor],
    lower: Tensor,
    upper: Tensor,
) -> Line:
    """A line above an S-shaped function between ``lower`` and ``upper``."""
    at_lower, width = value(lower), ops.maximum(upper - lower, NARROW)
    chord = (value(upper) - at_lower) / width
    # Bisection for the smallest point whose tangent is above the function at the lower end. The
    # tangent at `right` always is, unless the chord is used below.
    left = ops.maximum(lower, 0.0)
    right = ops.maximum(upper, left)
    for _ in range(_STEPS):
        middle = (left + right) / 2.0
        enough = value(middle) + derivative(middle) * (lower - middle) >= at_lower
        left, right = ops.where(enough, left, middle), ops.where(enough, middle, right)
    # Every point from `right` to the upper end has a tangent above the function. The one in the
    # middle leaves the least area, so it is taken where it is such a point.
    middle = (lower + upper) / 2.0
    point = ops.where(lower >= 0, middle, ops.maximum(right, middle))
    tangent = derivative(point)
    # The chord is above a convex function. It is also above one that becomes concave, if the
    # slope at the upper end is at least the chord's.
    by_chord = (upper <= 0) | ((lower < 0) & (derivative(upper) >= chord))
    slope = ops.where(by_chord, chord, tangent)
    offset = ops.where(by_chord, at_lower - chord * lower, value(point) - tangent * point)
    return slope, offset
