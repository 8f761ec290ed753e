"""Layers whose channels come first, as the same layers with channels last between two moves."""

from keras import ops

from zoo.bounds.rules.lipschitz_bound import LipschitzBound
from zoo.bounds.rules.rule import Rule


class PermutationRule(Rule):
    """Moves axes. Nothing is computed, so nothing is rounded.

    Args:
        layer: that the axes are moved for.
        inputs, input_shape: as for every rule.
        permutation: of the axes without the batch, numbered from 0.
    """

    isometry = 1.0
    keeps_order = False
    offset = 0.0
    roundings = 0

    def __init__(self, layer, inputs, input_shape, permutation):
        super().__init__(layer, inputs, input_shape)
        self.permutation = permutation

    def linear(self, tensor):
        return ops.transpose(tensor, (0, *(axis + 1 for axis in self.permutation)))

    absolute = trained = linear

    def rounding(self, boxes):
        return 0.0

    def compute(self, tensors):
        return self.linear(tensors[0])

    def interval(self, boxes):
        return tuple(map(self.linear, boxes[0]))

    def backward(self, rows, relaxed):
        inverse = [self.permutation.index(axis) for axis in range(len(self.permutation))]
        return [ops.transpose(rows, (0, 1, *(axis + 2 for axis in inverse)))], 0.0

    def lipschitz(self):
        return LipschitzBound(1.0)

    def second_order(self):
        return None


def in_channels_last(rule_type, builder, node, inputs):
    """Add a rule whose input has its channels last; returns the place of its output.

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
    if len(shape) < len(axes):
        return place  # a global pooling has left the channels alone
    return builder.add(PermutationRule(layer, (place,), shape, [axes[-1], *axes[:-1]]))
