"""Ordinary Keras models inside models of the zoo."""

import keras
import numpy as np

from zoo.bounds.graph import nodes_of

#: A first layer that multiplies by less takes pixels of 0 to 255, not of [0, 1].
LARGEST_BYTE_SCALE = 1 / 64


def network_from(network, known):
    """A model as it is, one from its configuration, or one by name.

    Args:
        network: a Keras model, its serialised form, or a table: ``name``, one of ``known``, and
            arguments of that function.
        known: functions by name.

    Raises:
        ValueError: naming the names that there are.
    """
    if isinstance(network, dict) and "class_name" in network:
        return keras.saving.deserialize_keras_object(network)
    if isinstance(network, dict):
        options = dict(network)
        name = options.pop("name", None)
        if name not in known:
            raise ValueError(f"network.name must be one of {', '.join(known)}, got {name!r}")
        return known[name](**options)
    return network


def require_images_to_logits(network):
    """Raise unless a built model takes images in [0, 1] to logits.

    Raises:
        ValueError: naming the shapes, or a first layer that pixels of 0 to 255 are meant for.
    """
    if len(network.input_shape) != 4 or len(network.output_shape) != 2:
        raise ValueError(
            "the network must take images (batch, height, width, channels) to logits (batch, "
            f"classes), but takes {network.input_shape} to {network.output_shape}"
        )
    first = next(node.layer for node in nodes_of(network))
    if type(first) is keras.layers.Rescaling and np.max(np.abs(first.scale)) < LARGEST_BYTE_SCALE:
        raise ValueError(
            f"the network begins with the layer {first.name!r}, which multiplies by {first.scale}, "
            "so it takes pixels of 0 to 255; inside a model of the zoo it is given images in "
            "[0, 1]. Leave that layer out: the model divides uint8 images by 255 itself"
        )


def with_new_last_layer(network, last, num_classes):
    """A copy of a network, weights included, but for its last layer, which is untrained.

    Args:
        network: a Sequential or functional model.
        last: its last layer, a dense one.
        num_classes: units of the new one.

    Raises:
        ValueError: if there is no such layer.
    """
    _require_head(last)

    def resized(layer):
        config = layer.get_config()
        return type(layer).from_config(
            {**config, "units": num_classes} if layer is last else config
        )

    copy = keras.models.clone_model(network, clone_function=resized, recursive=True)
    pairs = zip(
        copy._flatten_layers(include_self=False, recursive=True),
        network._flatten_layers(include_self=False, recursive=True),
        strict=True,
    )
    for new, old in pairs:
        if old is not last and not isinstance(old, (keras.Sequential, keras.Model)):
            new.set_weights(old.get_weights())
    return copy


def layers_under(last, network):
    """All layers of a network, those of models inside it too, but for the last one.

    Args:
        last: its last layer, a dense one; None if there is no such layer.
        network: a Sequential or functional model.

    Raises:
        ValueError: if there is no such layer.
    """
    _require_head(last)
    layers = network._flatten_layers(include_self=False, recursive=True)
    return [
        layer
        for layer in layers
        if layer is not last and not isinstance(layer, (keras.Sequential, keras.Model))
    ]


def _require_head(last):
    if last is None:
        raise ValueError("the network's last layer is no dense layer that could be replaced")
