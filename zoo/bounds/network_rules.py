"""A Keras model as the rules of its layers, in the order in which they run."""

from collections.abc import Sequence

import keras

from zoo.bounds import rules  # registers the rules of Keras's layers
from zoo.bounds.graph import Node, nodes_of
from zoo.bounds.merged_rules import merge_in_the_worst_way
from zoo.bounds.rules.rule import Bound, Rule, gives, refuse, rule_for
from zoo.typing import Shape


class Builder:
    """Collects the rules of a network.

    Args:
        input_shape: shape of the network's input without the batch.
        bound: the bound that all rules must give, a key of :data:`zoo.bounds.rules.rule.BOUNDS`.

    Attributes:
        rules: list of :class:`zoo.bounds.Rule`, in the order in which they run.
    """

    def __init__(self, input_shape: Sequence[int], bound: Bound) -> None:
        self.rules: list[Rule] = []
        self._shape: Shape = tuple(input_shape)
        self._bound: Bound = bound

    def add(self, rule: Rule) -> int:
        """Append a rule; returns the place of its output."""
        if len(rule.inputs) > 1:
            rule.input_shapes = tuple(map(self.shape_of, rule.inputs))
        self.rules.append(rule)
        return len(self.rules)

    def shape_of(self, place: int) -> Shape:
        """The shape of the tensor at a place, without the batch."""
        return self.rules[place - 1].output_shape if place else self._shape

    def expand(self, node: Node, inputs: tuple[int, ...]) -> int:
        """Append the rules of a layer; returns the place of its output.

        Args:
            node: :class:`zoo.bounds.graph.Node`.
            inputs: tuple of the places of the layer's inputs.
        """
        rule = rule_for(node.layer)
        bound = self._bound
        if rule is None:
            refuse(node.layer, "has no bounds", bound)
        if not gives(rule, bound):
            refuse(node.layer, f"has no {bound} bounds", bound)
        return rule.expand(self, node, inputs)


def rules_of(model: keras.Model, bound: Bound = "interval") -> list[Rule]:
    """The rules of a network's layers. The ``activation`` of a layer gets a rule of its own.

    Args:
        model: as for :func:`zoo.bounds.graph.nodes_of`.
        bound: the bound that all layers must have, a key of :data:`zoo.bounds.rules.rule.BOUNDS`.

    Returns:
        List of :class:`zoo.bounds.Rule`.

    Raises:
        TypeError, ValueError: as :func:`zoo.bounds.graph.nodes_of`.
        zoo.UnsupportedLayerError: naming the first layer that is not supported.
    """
    nodes = nodes_of(model)
    builder, place_of = Builder(model.inputs[0].shape[1:], bound), {0: 0}
    for index, node in enumerate(nodes, start=1):
        before = len(builder.rules)
        inputs = tuple(place_of[place] for place in node.inputs)
        place_of[index] = builder.expand(node, inputs)
        _require_stated_shape(node, builder.shape_of(place_of[index]))
        for rule in builder.rules[before:]:
            rule.use = index
    merge_in_the_worst_way(builder.rules)
    return builder.rules


def _require_stated_shape(node: Node, shape: Shape) -> None:
    """Refuse a layer that computes another shape than it states, which the next rules rely on.

    A layer with a factor or a slope for each entry broadcasts a smaller input to its own shape,
    which Keras does not state. This happens if tensors of different shapes share a layer.
    """
    if node.output_shape is not None and shape != tuple(node.output_shape):
        refuse(
            node.layer,
            f"makes {shape} of its input, where Keras states {tuple(node.output_shape)}",
        )


def rules_of_layers(
    layers: Sequence[keras.layers.Layer], input_shape: Sequence[int], bound: Bound
) -> list[Rule]:
    """As :func:`rules_of`, for layers that run one after another without being a Keras model.

    Args:
        layers: built Keras layers.
        input_shape: shape of the first layer's input without the batch.
        bound: as for :func:`rules_of`.
    """
    builder, place = Builder(input_shape, bound), 0
    for index, layer in enumerate(layers, start=1):
        before = len(builder.rules)
        place = builder.expand(Node(layer, (place,), builder.shape_of(place)), (place,))
        for rule in builder.rules[before:]:
            rule.use = index
    merge_in_the_worst_way(builder.rules)
    return builder.rules


__all__ = ["Builder", "rules", "rules_of", "rules_of_layers"]
