"""Layers with channels first: each becomes a layer with channels last between two permutations."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
from keras import ops

from zoo.bounds.graph import Node
from zoo.bounds.rules.lipschitz_bound import LipschitzBound
from zoo.bounds.rules.rule import Rule, refuse
from zoo.typing import Box, Shape, Tensor

if TYPE_CHECKING:
    from zoo.bounds.network_rules import Builder


@functools.cache
def _sums_along_the_end() -> bool:
    """Whether ``ops.add`` adds a vector to the last axis, whichever axis it is a vector of."""
    found = ops.add(ops.zeros((1, 2, 2)), ops.reshape(ops.arange(2.0), (1, 2, 1)))
    return float(ops.convert_to_numpy(found)[0, 0, 1]) != 0.0


def require_right_bias(layer: keras.layers.Layer, shape: Shape) -> None:
    """Refuse a layer with channels first whose bias Keras adds to the wrong axis.

    On TensorFlow, Keras's sum takes a vector that is as long as the last axis for a bias of that
    axis, though the bias of these layers is one of the first axis.

    Args:
        layer: a layer with channels first, with or without a bias.
        shape: shape of the layer's output with channels last, without the batch.

    Raises:
        zoo.UnsupportedLayerError: if the output has as many columns as channels.
    """
    if getattr(layer, "use_bias", False) and 1 < shape[-1] == shape[-2] and _sums_along_the_end():
        refuse(
            layer,
            "has as many filters as its output is wide, so that Keras on TensorFlow adds the bias "
            'to the columns; make it with data_format="channels_last" or use_bias=False',
        )


class PermutationRule(Rule):
    """Permutes the axes of a tensor. Nothing is computed, so nothing is rounded.

    Args:
        layer: the layer that needs another order of axes.
        inputs, input_shape: as for every rule.
        permutation: the new order of the axes, which are numbered from 0 without the batch.
    """

    isometry = 1.0
    may_be_removed = True
    keeps_order = False
    offset = 0.0
    roundings = terms = 0

    def __init__(
        self,
        layer: keras.layers.Layer,
        inputs: tuple[int, ...],
        input_shape: Shape,
        permutation: Sequence[int],
    ) -> None:
        super().__init__(layer, inputs, input_shape)
        self.permutation = permutation

    def linear(self, tensor: Tensor) -> Tensor:
        return ops.transpose(tensor, (0, *(axis + 1 for axis in self.permutation)))

    absolute = trained = linear

    def rounding(self, boxes: Sequence[Box]) -> float:
        return 0.0

    def compute(self, tensors: Sequence[Tensor]) -> Tensor:
        return self.linear(tensors[0])

    def interval(self, boxes: Sequence[Box]) -> Box:
        return tuple(map(self.linear, boxes[0]))

    def apart(self, inputs: Sequence[Tensor], boxes: Sequence[Box], box: Box) -> Tensor:
        return self.linear(inputs[0])

    def backward(self, rows: Tensor, relaxed: None) -> tuple[list[Tensor], Tensor]:
        inverse = [self.permutation.index(axis) for axis in range(len(self.permutation))]
        return [ops.transpose(rows, (0, 1, *(axis + 2 for axis in inverse)))], 0.0

    def lipschitz(self) -> LipschitzBound:
        return LipschitzBound(1.0)

    def second_order(self) -> None:
        return None


def in_channels_last(
    rule_type: type[Rule], builder: "Builder", node: Node, inputs: tuple[int, ...]
) -> int:
    """Add a rule that needs channels last, between permutations if the layer has channels first.

    Returns the place of the output.

    Args:
        rule_type: class of rules.
        builder, node, inputs: as for :meth:`zoo.bounds.rules.rule.Rule.expand`.
    """
    layer, shape = node.layer, node.input_shape
    if getattr(layer, "data_format", "channels_last") != "channels_first":
        return builder.add(rule_type(layer, inputs, shape))
    axes = list(range(len(shape)))
    place = builder.add(PermutationRule(layer, inputs, shape, [*axes[1:], 0]))
    rule = rule_type(layer, (place,), (*shape[1:], shape[0]))
    place, shape = builder.add(rule), rule.output_shape
    require_right_bias(layer, shape)
    if len(shape) < len(axes):
        return place  # a global pooling leaves only the channels, so there is nothing to permute
    return builder.add(PermutationRule(layer, (place,), shape, [axes[-1], *axes[:-1]]))
