"""A Keras model as the rules of its layers, in the order they run."""

from zoo.bounds import rules  # registers the rules of Keras's layers
from zoo.bounds.graph import nodes_of
from zoo.bounds.rules.activations import ActivationLayerRule, ActivationRule, kind_of
from zoo.bounds.rules.rule import gives, refuse, rule_for


def rules_of(model, bound="interval"):
    """The rules of a network's layers; an activation that ends a layer has a rule of its own.

    Args:
        model: as for :func:`zoo.bounds.graph.nodes_of`.
        bound: that all layers must have, a key of :data:`zoo.bounds.rules.rule.BOUNDS`.

    Returns:
        List of :class:`zoo.bounds.Rule`.

    Raises:
        UnsupportedLayerError: naming the first layer that is not supported, and what is.
    """
    found, place_of = [], {0: 0}
    for index, node in enumerate(nodes_of(model), start=1):
        layer, inputs = node.layer, tuple(place_of[place] for place in node.inputs)
        rule = rule_for(layer)
        if rule is None or not gives(rule, bound):
            refuse(layer, "has no bounds" if rule is None else f"has no {bound} bounds", bound)
        if rule is ActivationLayerRule and kind_of(layer) is None:
            place_of[index] = inputs[0]  # the identity
            continue
        found.append(rule(layer, inputs, node.input_shape))
        kind = kind_of(layer) if rule.ends_with_activation else None
        if kind is not None:
            shape = tuple(layer.compute_output_shape((None, *node.input_shape))[1:])
            found.append(ActivationRule(layer, (len(found),), shape, kind))
        place_of[index] = len(found)
    return found


__all__ = ["rules", "rules_of"]
