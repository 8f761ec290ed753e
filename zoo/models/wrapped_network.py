"""Ordinary Keras models inside models of the zoo."""

import hashlib
import json

import keras
import numpy as np


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
    """Raise unless a built model takes images to logits.

    Raises:
        ValueError: naming the shapes.
    """
    if len(network.input_shape) != 4 or len(network.output_shape) != 2:
        raise ValueError(
            "the network must take images (batch, height, width, channels) to logits (batch, "
            f"classes), but takes {network.input_shape} to {network.output_shape}"
        )


def digest_of(network):
    """What a network is now: a hash of its layers' settings and of its weights."""
    found = hashlib.sha256(json.dumps(network.get_config(), default=str).encode())
    for weight in network.get_weights():
        found.update(np.asarray(weight).tobytes())
    return found.digest()


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
