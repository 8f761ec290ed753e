"""Activation functions: bounds of their values, lines around them, slopes and derivatives.

Each kind of activation has the same attributes and methods:

* ``value(x)``: the function, of a tensor.
* ``interval(lower, upper)``: the range of values over intervals.
* ``lines(lower, upper)``: ``((a, b), (c, d))`` with ``a x + b <= value(x) <= c x + d`` for all x in
  the intervals.
* ``rounding(size)``: bound of float32's error for inputs of an absolute value of at most ``size``;
  it is affine in ``size``.
* ``lipschitz``: upper bound of the slope's absolute value.
* ``increasing``: whether no slope is negative.
* ``exact_where_stable``: whether the function is linear where its input has a fixed sign.
* ``derivatives``: a :class:`zoo.bounds.activations.derivatives.Derivatives`, or None for a function
  without curvature bounds.

All of them compute in float64.
"""

from zoo.bounds.activations.clipped import Clipped
from zoo.bounds.activations.curved import Curved
from zoo.bounds.activations.known import ACTIVATIONS, Activation, elu, known_activation
from zoo.bounds.activations.piecewise import Piecewise
from zoo.bounds.activations.smooth import Smooth

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Clipped",
    "Curved",
    "Piecewise",
    "Smooth",
    "elu",
    "known_activation",
]
