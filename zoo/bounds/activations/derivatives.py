"""The first two derivatives of smooth activations, from which curvature bounds are computed."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo.typing import Array, Tensor


@dataclasses.dataclass(frozen=True)
class Derivatives:
    """Bounds of σ' and ``σ''``.

    Attributes:
        slope: σ' as a function of a tensor; its values are not negative.
        exact: σ as a function of a float64 array.
        steepest: upper bound of σ'.
        bend: ``(lower, upper)`` bounds of ``σ''``.
        functions: σ' and ``σ''`` as functions of a float64 array.
        turns: for each of ``functions``, the points of its local extrema.
        bounded: whether all values of σ lie in [-1, 1]. Otherwise ``|σ(x)| < |x| + 1``.
    """

    slope: Callable[[Tensor], Tensor]
    exact: Callable[[Array], Array]
    steepest: float
    bend: tuple[float, float]
    functions: tuple[Callable[[Any], Any], Callable[[Any], Any]]
    turns: tuple[tuple[float, ...], tuple[float, ...]]
    bounded: bool

    def ranges(self, low: Array, high: Array) -> tuple[tuple[Array, Array], ...]:
        """Bounds ``((low, high), (low, high))`` of σ' and ``σ''`` for inputs between two arrays."""
        return tuple(map(_range, self.functions, self.turns, (low, low), (high, high)))


def _range(
    function: Callable[[Any], Any], turns: Sequence[float], low: Array, high: Array
) -> tuple[Array, Array]:
    values = [function(low), function(high)]
    inside = [(low <= turn) & (turn <= high) for turn in turns]
    values += [np.where(w, function(t), values[0]) for w, t in zip(inside, turns, strict=True)]
    # The absolute values are at most 1, so float64 is wrong by far less than 1e-12.
    return np.min(values, axis=0) - 1e-12, np.max(values, axis=0) + 1e-12
