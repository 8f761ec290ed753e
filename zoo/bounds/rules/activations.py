"""Activations, whether they are layers of their own or end a layer."""

import keras
from keras import ops

from zoo.bounds.activation_lines import ACTIVATIONS, Piecewise
from zoo.bounds.rules.rule import Rule, products, refuse, register_rule, sizes

_KNOWN = "linear, " + ", ".join(function.__name__ for function, _ in ACTIVATIONS)


class ActivationRule(Rule):
    """Entry by entry, between two lines.

    Args:
        kind: :class:`zoo.bounds.activation_lines.Piecewise` or ``Smooth``.
    """

    wants_tight_inputs = True

    def __init__(self, layer, inputs, input_shape, kind):
        self.kind, self.exact_where_stable = kind, isinstance(kind, Piecewise)
        super().__init__(layer, inputs, input_shape)

    def interval(self, boxes):
        lower, upper = boxes[0]
        error = self.kind.rounding(sizes(boxes[0]))
        return self.kind.value(lower) - error, self.kind.value(upper) + error

    def relax(self, boxes):
        lower, upper = boxes[0]
        error = self.kind.rounding(sizes(boxes[0]))
        (a, b), (c, d) = self.kind.lines(lower, upper)
        return (a, b - error), (c, d + error)

    def backward(self, rows, relaxed):
        (below, below_offset), (above, above_offset) = relaxed
        positive, negative = ops.maximum(rows, 0.0), ops.minimum(rows, 0.0)
        offset = products(positive, below_offset) + products(negative, above_offset)
        return [positive * below[:, None] + negative * above[:, None]], offset


@register_rule(keras.layers.Activation)
class ActivationLayerRule(ActivationRule):
    limits = _KNOWN

    def __init__(self, layer, inputs, input_shape):
        super().__init__(layer, inputs, input_shape, kind_of(layer))


@register_rule(keras.layers.ReLU, keras.layers.LeakyReLU)
class ReLURule(ActivationRule):
    limits = "without a threshold or a largest value, and with slopes in [0, 1]"

    def __init__(self, layer, inputs, input_shape):
        slope = float(layer.negative_slope)
        if getattr(layer, "threshold", 0.0) != 0 or getattr(layer, "max_value", None) is not None:
            refuse(layer, "has a threshold or a largest value")
        if not 0 <= slope <= 1:
            refuse(layer, f"has the slope {slope:g} below zero, outside of [0, 1]")
        super().__init__(layer, inputs, input_shape, Piecewise(slope))


@register_rule(keras.layers.ELU)
class ELURule(ActivationRule):
    limits = "with alpha 1"

    def __init__(self, layer, inputs, input_shape):
        if layer.alpha != 1:
            refuse(layer, f"has alpha {layer.alpha}, not 1")
        kind = next(kind for function, kind in ACTIVATIONS if function is keras.activations.elu)
        super().__init__(layer, inputs, input_shape, kind)


def kind_of(layer):
    """What the ``activation`` of a layer is, or None for the identity.

    Functions are compared by identity, because anyone's function may have the same name.

    Raises:
        UnsupportedLayerError: for an activation without bounds.
    """
    activation = layer.activation
    if activation is None or activation is keras.activations.linear:
        return None
    kind = next((kind for function, kind in ACTIVATIONS if function is activation), None)
    if kind is None:
        name = getattr(activation, "__name__", type(activation).__name__)
        refuse(layer, f"has the activation {name}")
    return kind
