"""The first two derivatives of smooth activations, which bounds of curvature are made of."""

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Derivatives:
    """Bounds of σ' and ``σ''``.

    Attributes:
        slope: σ' as a function of a tensor; it is not negative.
        exact: σ as a function of a float64 array.
        steepest: upper bound of σ'.
        bend: bounds of ``σ''`` from below and above.
        functions: σ' and ``σ''`` as functions of a float64 array.
        turns: for each of the two, the points where it turns from rising to falling or back.
        bounded: whether values of σ lie in [-1, 1]; otherwise they exceed inputs by less than 1.
    """

    slope: Callable
    exact: Callable
    steepest: float
    bend: tuple
    functions: tuple
    turns: tuple
    bounded: bool

    def ranges(self, low, high):
        """What σ' and ``σ''`` lie between, for inputs between two arrays: ``((low, high), …)``."""
        return tuple(map(_range, self.functions, self.turns, (low, low), (high, high)))


def _range(function, turns, low, high):
    values = [function(low), function(high)]
    inside = [(low <= turn) & (turn <= high) for turn in turns]
    values += [np.where(w, function(t), values[0]) for w, t in zip(inside, turns, strict=True)]
    # All these values are of size 1 or less, so float64 is wrong by far less than 1e-12.
    return np.min(values, axis=0) - 1e-12, np.max(values, axis=0) + 1e-12
