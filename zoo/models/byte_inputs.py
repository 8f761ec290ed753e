"""Whether a network takes pixels of 0 to 255 instead of pixels in [0, 1]."""

from typing import Any

import keras
import numpy as np

from zoo.bounds.graph import Node, first_nodes, is_graph
from zoo.bounds.rules.merge import OperatorRule
from zoo.bounds.rules.rule import rule_for
from zoo.bounds.rules.scaling import NormalizationRule, RescalingRule
from zoo.bounds.rules.shape import MovedRule
from zoo.errors import UnsupportedLayerError

#: A network whose first layers multiply pixels by less is meant for pixels of 0 to 255. Layers that
#: normalise divide by the standard deviation, at most 0.5 in [0, 1] and about 60 in 0 to 255.
LARGEST_BYTE_SCALE = 1 / 16


def refuse_byte_inputs(network: keras.Model, advice: str) -> None:
    """Raise if a network's first layers show that it takes pixels of 0 to 255.

    These are ``Rescaling(1 / 255)``, a ``Normalization`` by a large deviation, and the operators in
    ``x / 255.0`` or ``(x - 127.5) / 127.5``; also behind layers that only move pixels or that do
    nothing at inference, such as augmentation.

    Args:
        network: any model. Only a ``keras.Sequential`` or functional model can show it.
        advice: end of the error's message: what to do.

    Raises:
        ValueError: naming the layer and its factor.
    """
    found = _byte_scaling(network)
    if found is not None:
        node, factor = found
        kind = "layer" if isinstance(node.layer, keras.layers.Layer) else "operator"
        raise ValueError(
            f"the network begins with the {kind} {node.layer.name!r}, which multiplies by "
            f"{factor:.4g}, so it takes pixels of 0 to 255, not of [0, 1]; {advice}"
        )


def takes_bytes(network: Any) -> bool:
    """Whether a network's first layers show that it takes pixels of 0 to 255.

    Args:
        network: any object. Only a ``keras.Sequential`` or functional model can show it.
    """
    return _byte_scaling(network) is not None


def from_unit_range(model: Any, valid_range: tuple[float, float]) -> keras.Model:
    """Wrap a Keras model that takes pixels in another range into one that takes images in [0, 1].

    Args:
        model: a ``keras.Sequential`` or functional model.
        valid_range: ``(low, high)``, the numbers that the model takes for 0 and 1.

    Returns:
        A functional model that shares the layers of the first one.

    Raises:
        ValueError: if it is another kind of model.
    """
    if not is_graph(model):
        raise ValueError(
            "only a keras.Sequential or a functional model can be given a range of pixels, got a "
            f"{type(model).__name__}"
        )
    low, high = valid_range
    inputs = keras.Input(model.input_shape[1:])
    return keras.Model(inputs, model(keras.layers.Rescaling(high - low, low)(inputs)))


def _byte_scaling(network: keras.Model) -> tuple[Node, float] | None:
    """The first layer or operator after which pixels are scaled as bytes are, and its factor."""
    if not is_graph(network):
        return None
    factor = 1.0
    for place, node in enumerate(first_nodes(network)):
        own = _factor(node) if node.inputs == (place,) else None
        if own is None:
            return None
        factor *= own
        if 0 < factor < LARGEST_BYTE_SCALE:
            return node, own
    return None


def _factor(node: Node) -> float | None:
    """The median of the factors by which a layer multiplies pixels; None if it does more than that.

    A pixel that is the same in all images has a factor of its own.
    """
    kind: Any = rule_for(node.layer)
    if kind is None:
        return None
    if issubclass(kind, MovedRule):
        return 1.0
    try:
        if kind is OperatorRule:
            return float(np.median(np.abs(OperatorRule(node, (0,)).factors()[0])))
        if kind in (RescalingRule, NormalizationRule):
            rule = kind(node.layer, (0,), node.input_shape)
            return float(np.median(np.abs(rule.settings()[0])))
    except UnsupportedLayerError:  # whoever needs its bounds says so
        return None
    return None
