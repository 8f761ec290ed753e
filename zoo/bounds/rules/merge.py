"""Layers with several inputs, and sums and products written as operators."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops
from keras.src.ops import numpy as operations

from zoo.bounds.graph import Node
from zoo.bounds.rules.affine import AffineRule
from zoo.bounds.rules.lipschitz_bound import LipschitzBound, with_flushing
from zoo.bounds.rules.rows import products, sizes
from zoo.bounds.rules.rule import Rule, refuse, register_rule
from zoo.ops.float32 import LARGEST, sum_rounding
from zoo.typing import Array, Box, Numbers, Tensor

if TYPE_CHECKING:
    from zoo.bounds.network_rules import Builder


class WeightedSumRule(AffineRule):
    """``Σ factor · input + offset``, entry by entry."""

    limits = "of equal shapes"
    passes_constants = True  # a compiler may take a common factor out of the sum
    # Curvature bounds exist for chains of layers only, so a rule with several inputs gives none.
    second_order = Rule.second_order

    def factors(self) -> Sequence[Numbers]:
        """The factor of each input: a number, or a float64 array that broadcasts to the input."""
        raise NotImplementedError

    def prepare(self) -> None:
        self.roundings = len(self.inputs) + 2

    def compute(self, tensors: Sequence[Tensor]) -> Tensor:
        return self.layer(list(tensors))  # a list even of one tensor

    def linear(self, tensor: Tensor) -> Tensor:
        (factor,) = self.factors()  # a sum of several tensors is no function of one
        return factor * tensor

    def absolute(self, tensor: Tensor) -> Tensor:
        (factor,) = self.factors()
        return abs(factor) * tensor

    def interval(self, boxes: Sequence[Box]) -> Box:
        error = self.rounding(boxes)
        lower = upper = self.offset
        for factor, box in zip(self.factors(), boxes, strict=True):
            ends = factor * box[0], factor * box[1]
            lower, upper = lower + ops.minimum(*ends), upper + ops.maximum(*ends)
        return lower - error, upper + error

    def term_sizes(self, boxes: Sequence[Box]) -> Tensor:
        """The sum of the absolute values of an output's terms."""
        pairs = zip(self.factors(), boxes, strict=True)
        return sum(abs(factor) * sizes(box) for factor, box in pairs) + abs(self.offset)

    def rounding(self, boxes: Sequence[Box]) -> Tensor:
        return self.error(boxes, self.term_sizes(boxes))

    def apart(self, inputs: Sequence[Tensor], boxes: Sequence[Box], box: Box) -> Tensor:
        pairs = zip(self.factors(), inputs, strict=True)
        return sum(abs(factor) * part for factor, part in pairs) + 2.0 * self.rounding(boxes)

    def backward(self, rows: Tensor, relaxed: Tensor) -> tuple[list[Tensor], Tensor]:
        inputs = [_times(rows, factor) for factor in self.factors()]
        return inputs, products(rows, self.offset) - products(ops.abs(rows), relaxed)

    def merged(self, values: Sequence[Any]) -> Any:
        largest = [float(np.max(np.abs(factor))) for factor in self.factors()]
        return sum(factor * value for factor, value in zip(largest, values, strict=True))

    def lipschitz(self) -> LipschitzBound:
        self.prepare()
        offset = np.asarray(ops.convert_to_numpy(self.offset))
        offset = np.broadcast_to(offset, (1, *self.input_shape))
        rounding, entries = sum_rounding(self.all_roundings), math.prod(self.input_shape)
        return with_flushing(
            1.0,
            rounding,
            rounding * float(np.linalg.norm(offset)),
            terms=self.all_roundings,
            entries=entries,
        )


def _times(rows: Tensor, factor: Numbers) -> Tensor:
    return rows if np.ndim(factor) == 0 and factor == 1.0 else rows * factor


@register_rule(keras.layers.Add)
class AddRule(WeightedSumRule):
    may_be_removed = True  # of a single tensor

    def factors(self) -> Sequence[Numbers]:
        return [1.0] * len(self.inputs)

    def prepare(self) -> None:
        self.roundings = len(self.inputs)


@register_rule(keras.layers.Subtract)
class SubtractRule(WeightedSumRule):
    def factors(self) -> Sequence[Numbers]:
        return [1.0, -1.0]


@register_rule(keras.layers.Average)
class AverageRule(WeightedSumRule):
    may_be_removed = True  # of a single tensor

    def factors(self) -> Sequence[Numbers]:
        return [1.0 / len(self.inputs)] * len(self.inputs)


@register_rule(
    operations.Add,
    operations.Divide,
    operations.Multiply,
    operations.Negative,
    operations.Subtract,
    operations.TrueDivide,
)
class OperatorRule(WeightedSumRule):
    """``a + b``, ``a - b`` and ``-a``, and ``a * c`` and ``a / c`` with a constant c."""

    limits = (
        "of tensors of equal shapes, or of a tensor and a constant; no products of tensors; "
        "factors that are 0 or in [1e-12, 1e12]; divisors above 1e-30; "
        "products of constants in a row within [1e-30, 1e30]"
    )

    @classmethod
    def expand(cls, builder: "Builder", node: Node, inputs: tuple[int, ...]) -> int:
        return builder.add(cls(node, inputs))

    def __init__(self, node: Node, inputs: tuple[int, ...]) -> None:
        self.node = node
        super().__init__(node.layer, inputs, node.input_shape)

    def check(self) -> None:
        kind, operands = type(self.layer), self.node.operands
        constants = [None if isinstance(x, int) else self._spread(x.value) for x in operands]
        tensors = [constant is None for constant in constants]
        if kind is operations.Negative:
            self._factors = [-1.0]
        elif kind in (operations.Add, operations.Subtract):
            signs = [1.0, -1.0 if kind is operations.Subtract else 1.0]
            self._factors = [sign for sign, here in zip(signs, tensors, strict=True) if here]
            for sign, constant in zip(signs, constants, strict=True):
                if constant is not None:
                    self.offset = sign * constant
        elif all(tensors) or (kind is not operations.Multiply and not tensors[0]):
            refuse(self.layer, "multiplies or divides by a tensor that is no constant")
        else:
            (constant,) = (constant for constant in constants if constant is not None)
            divides = kind is not operations.Multiply
            # Float32 may flush a divisor near zero to zero.
            if divides and not (np.abs(constant) > 1e-30).all():
                refuse(self.layer, "divides by zero, or by almost zero")
            # It may flush a factor to zero too, and graph optimisers multiply constants in a row.
            size = np.abs(constant)
            if not ((size == 0) | ((size > 1e-12) & (size < 1e12))).all():
                refuse(self.layer, "has a constant factor outside of [1e-12, 1e12]")
            self._factors = [1.0 / constant if divides else constant]
        self.largest = float(np.max([np.max(np.abs(factor)) for factor in self._factors]))
        if not (np.abs(self.offset) < LARGEST).all():
            refuse(self.layer, "has a constant that float32 cannot hold")

    def _spread(self, constant: Array) -> Array:
        """The constant as a number, as one for each channel, or as one for each entry."""
        shape = tuple(self.input_shape)
        if constant.shape in (shape, (1, *shape)):
            return constant.reshape(shape)
        leading = next((i for i, side in enumerate(constant.shape) if side > 1), constant.ndim)
        value = constant.reshape(constant.shape[leading:])
        if value.shape in ((), shape[-1:]):
            return value
        # TensorFlow may take a constant with one long side for a bias of the channels, whichever
        # side it is, and then its sum is no broadcast.
        sides = list(zip(value.shape[::-1], shape[::-1], strict=False))
        spreads = value.ndim <= len(shape) and all(side in (1, whole) for side, whole in sides)
        if not spreads or sum(side > 1 for side in value.shape) < 2:
            refuse(
                self.layer,
                f"has a constant of shape {constant.shape}, which is neither a number nor one for "
                f"each channel nor one that spreads along two sides of {shape}",
            )
        return np.broadcast_to(value, shape)

    def prepare(self) -> None:
        super().prepare()
        self.require_constants_in_range()

    def constant_factors(self) -> Array | None:
        return np.asarray(self._factors[0], np.float64) if len(self._factors) == 1 else None

    def compute(self, tensors: Sequence[Tensor]) -> Tensor:
        remaining = iter(tensors)
        return self.layer(
            *(
                next(remaining) if isinstance(x, int) else ops.convert_to_tensor(x.value, "float32")
                for x in self.node.operands
            )
        )

    def factors(self) -> Sequence[Numbers]:
        return self._factors


@register_rule(keras.layers.Concatenate)
class ConcatenateRule(Rule):
    """A concatenation. Nothing is computed, so nothing is rounded."""

    limits = "not along the batch"
    may_be_removed = True  # of a single tensor

    def check(self) -> None:
        if self.layer.axis % (len(self.input_shape) + 1) == 0:
            refuse(self.layer, "joins batches")

    def compute(self, tensors: Sequence[Tensor]) -> Tensor:
        return self.layer(list(tensors))  # a list even of one tensor

    def interval(self, boxes: Sequence[Box]) -> Box:
        return tuple(self.layer.call([box[end] for box in boxes]) for end in (0, 1))

    def apart(self, inputs: Sequence[Tensor], boxes: Sequence[Box], box: Box) -> Tensor:
        return self.layer.call(list(inputs))

    def backward(self, rows: Tensor, relaxed: None) -> tuple[list[Tensor], Tensor]:
        # Rows have one axis more than the tensors: the second one, which counts the rows.
        axis = self.layer.axis + (1 if self.layer.axis > 0 else 0)
        along = self.layer.axis - (1 if self.layer.axis > 0 else 0)
        ends = np.cumsum([shape[along] for shape in self.input_shapes])[:-1].tolist()
        return (ops.split(rows, ends, axis=axis) if ends else [rows]), 0.0

    def lipschitz(self) -> LipschitzBound:
        return LipschitzBound(1.0)

    def merged(self, values: Sequence[Any]) -> Any:
        return sum(value**2 for value in values) ** 0.5
