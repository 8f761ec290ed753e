"""Activations, both as layers of their own and as the ``activation`` of another layer."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from zoo.bounds.activations import (
    ACTIVATIONS,
    Activation,
    Clipped,
    Piecewise,
    elu,
    known_activation,
)
from zoo.bounds.activations.derivatives import Derivatives
from zoo.bounds.graph import Node
from zoo.bounds.rules.constants import require_in_range
from zoo.bounds.rules.lipschitz_bound import UNKNOWN, LipschitzBound, with_flushing
from zoo.bounds.rules.rows import products, sizes
from zoo.bounds.rules.rule import Bound, Rule, refuse, register_rule
from zoo.bounds.window_rows import WindowRows
from zoo.ops.float32 import LARGEST
from zoo.ops.precision import float64
from zoo.typing import Box, Line, Shape, Tensor

if TYPE_CHECKING:
    from zoo.bounds.network_rules import Builder


# A size at which error bounds are evaluated.
_LARGE = 2.0**60


class ActivationRule(Rule):
    """An activation, which acts on each entry by itself and is bounded by two lines.

    Args:
        layer, inputs, input_shape: as for every rule.
        kind: the object that bounds the activation, see :mod:`zoo.bounds.activations`.
    """

    wants_tight_inputs = True
    takes_windows = True

    def __init__(
        self,
        layer: keras.layers.Layer,
        inputs: tuple[int, ...],
        input_shape: Shape,
        kind: Activation,
    ) -> None:
        self.kind = kind
        # A LeakyReLU of slope 1. A PReLU has weights, which a compiler does not know.
        self.may_be_removed = bool(np.all(getattr(kind, "slope", 0.0) == 1.0))
        super().__init__(layer, inputs, input_shape)

    @property
    def exact_where_stable(self) -> bool:
        return self.kind.exact_where_stable

    def compute(self, tensors: Sequence[Tensor]) -> Tensor:
        return self.kind.value(tensors[0])

    def interval(self, boxes: Sequence[Box]) -> Box:
        low, high = self.kind.interval(*boxes[0])
        error = self.kind.rounding(sizes(boxes[0]))
        return low - error, high + error

    def apart(self, inputs: Sequence[Tensor], boxes: Sequence[Box], box: Box) -> Tensor:
        return self.kind.lipschitz * inputs[0] + 2.0 * self.kind.rounding(sizes(boxes[0]))

    def require_constants_in_range(self) -> None:
        # ``slope · (x · a)`` becomes ``x · (a · slope)``.
        require_in_range(self, np.asarray(getattr(self.kind, "slope", 1.0)), alone=False)

    def relax(self, boxes: Sequence[Box]) -> tuple[Line, Line]:
        error = self.kind.rounding(sizes(boxes[0]))
        (a, b), (c, d) = self.kind.lines(*boxes[0])
        return (a, b - error), (c, d + error)

    def backward(
        self, rows: Tensor | WindowRows, relaxed: tuple[Line, Line]
    ) -> tuple[list[Any], Tensor]:
        if isinstance(rows, WindowRows):
            return self._backward_windows(rows, relaxed)
        (below, below_offset), (above, above_offset) = relaxed
        positive, negative = ops.maximum(rows, 0.0), ops.minimum(rows, 0.0)
        offset = products(positive, below_offset) + products(negative, above_offset)
        return [positive * below[:, None] + negative * above[:, None]], offset

    def _backward_windows(
        self, rows: WindowRows, relaxed: tuple[Line, Line]
    ) -> tuple[list[WindowRows], Tensor]:
        ends = [ops.broadcast_to(end, relaxed[0][0].shape) for line in relaxed for end in line]
        # The four tensors are looked up together, because that takes most of this method's time.
        below, below_offset, above, above_offset = ops.split(
            rows.of(ops.concatenate(ends, axis=-1)), 4, axis=-1
        )
        positive, negative = ops.maximum(rows.values, 0.0), ops.minimum(rows.values, 0.0)
        offset = ops.sum(positive * below_offset + negative * above_offset, axis=(2, 3, 4))
        values = positive * below + negative * above
        return [dataclasses.replace(rows, values=values)], offset

    def lipschitz(self) -> LipschitzBound:
        largest, entries = self.kind.lipschitz, math.prod(self.input_shape)
        if not math.isfinite(largest):
            return UNKNOWN
        # The error of one entry is at most `constant + per_size * |entry|`. In L2 the constants of
        # all entries add up to `constant * √entries`.
        # A value at a large size, divided by it, is never below the slope.
        constant, large = (float(np.max(self.kind.rounding(size))) for size in (0.0, _LARGE))
        per_size, offset = large / _LARGE, constant * math.sqrt(entries)
        return with_flushing(
            largest, per_size, offset, terms=1, entries=entries, weight=max(1.0, largest)
        )

    def second_order(self) -> Derivatives | None:
        if self.kind.derivatives is None:
            refuse(self.layer, f"has the activation {_name(self.layer)}", "curvature")
        return self.kind.derivatives


@register_rule(keras.layers.Activation)
class ActivationLayerRule(ActivationRule):
    @classmethod
    def limits_of(cls, bound: Bound) -> str:
        known = [
            function.__name__
            for function, kind in ACTIVATIONS
            if bound != "curvature" or kind.derivatives is not None
        ]
        return ", ".join(["linear", *known])

    @classmethod
    def expand(cls, builder: "Builder", node: Node, inputs: tuple[int, ...]) -> int:
        kind = activation_of(node.layer)
        if kind is None:
            return inputs[0]
        return builder.add(ActivationRule(node.layer, inputs, node.input_shape, kind))


class _KinkedRule(ActivationRule):
    """A layer whose function has a kink, so that it has no second derivative."""

    second_order = Rule.second_order


@register_rule(keras.layers.ReLU, keras.layers.LeakyReLU)
class ReLURule(_KinkedRule):
    limits = "without a threshold"

    @classmethod
    def expand(cls, builder: "Builder", node: Node, inputs: tuple[int, ...]) -> int:
        layer, shape = node.layer, node.input_shape
        slope, largest = float(layer.negative_slope), getattr(layer, "max_value", None)
        if getattr(layer, "threshold", 0.0) != 0:
            refuse(layer, "has a threshold, where it jumps")
        if largest is not None and largest < 0:
            refuse(layer, "has a negative largest value, which backends understand differently")
        if largest is not None and slope < 0:
            refuse(layer, "has a largest value and a negative slope, which may exceed it")
        if largest is not None and slope == 0 and largest > 0:
            return builder.add(cls(layer, inputs, shape, Clipped(0.0, largest)))
        place = builder.add(cls(layer, inputs, shape, Piecewise(slope)))
        if largest is not None:
            place = builder.add(cls(layer, (place,), shape, Clipped(None, largest)))
        return place


@register_rule(keras.layers.PReLU)
class PReLURule(_KinkedRule):
    @classmethod
    def expand(cls, builder: "Builder", node: Node, inputs: tuple[int, ...]) -> int:
        return builder.add(cls(node.layer, inputs, node.input_shape, None))

    def __init__(
        self, layer: keras.layers.Layer, inputs: tuple[int, ...], input_shape: Shape, kind: Any
    ) -> None:
        super().__init__(layer, inputs, input_shape, kind)
        self.prepare()

    def prepare(self) -> None:
        self.kind = Piecewise(float64(self.layer.alpha))
        self.require_constants_in_range()

    def compute(self, tensors: Sequence[Tensor]) -> Tensor:
        return self.layer(tensors[0])

    def lipschitz(self) -> LipschitzBound:
        self.prepare()
        return super().lipschitz()

    def estimate(self) -> Tensor:
        return ops.maximum(1.0, ops.max(ops.abs(self.layer.alpha)))


@register_rule(keras.layers.ELU)
class ELURule(_KinkedRule):
    limits = "with an alpha that is not negative"

    @classmethod
    def expand(cls, builder: "Builder", node: Node, inputs: tuple[int, ...]) -> int:
        alpha = float(node.layer.alpha)
        if not 0 <= alpha < LARGEST:
            refuse(node.layer, f"has alpha {alpha:g}, which is negative or not a float32 number")
        return builder.add(cls(node.layer, inputs, node.input_shape, elu(alpha)))


def activation_of(layer: keras.layers.Layer) -> Activation | None:
    """The object that bounds the ``activation`` of a layer, or None for the identity.

    Raises:
        UnsupportedLayerError: for an activation without bounds.
    """
    activation = getattr(layer, "activation", None)
    if activation is None or activation is keras.activations.linear:
        return None
    kind = known_activation(activation)
    if kind is None:
        name = _name(layer)
        kerass = known_activation(getattr(keras.activations, name, None))
        advice = f", which is not Keras's own: write activation={name!r}" if kerass else ""
        refuse(layer, f"has the activation {name}{advice}")
    return kind


def _name(layer: keras.layers.Layer) -> str:
    activation = getattr(layer, "activation", type(layer))
    return getattr(activation, "__name__", type(activation).__name__)
