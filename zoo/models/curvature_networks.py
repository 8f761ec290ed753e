"""The smooth networks of the paper on second-order defences, as ordinary Keras models."""

from collections.abc import Sequence
from typing import Literal

import keras

from zoo.layers import Conv2D, Dense
from zoo.models.layer_names import LayerNames


def mlp(
    image_shape: Sequence[int],
    num_classes: int,
    hidden: Sequence[int] = (1024,),
    activation: Literal["softplus", "sigmoid", "tanh"] = "softplus",
) -> keras.Sequential:
    """A network of dense layers; the published ones have 1, 2 or 3 hidden layers of 1,024 units.

    Args:
        image_shape: ``(height, width, channels)``.
        num_classes: number of logits.
        hidden: number of units of each hidden layer.
        activation: ``"softplus"``, ``"sigmoid"`` or ``"tanh"``.

    Returns:
        ``keras.Sequential``.
    """
    names = LayerNames()
    layers = [
        keras.Input(tuple(image_shape), name="input_layer"),
        keras.layers.Flatten(data_format="channels_last", name="flatten"),
    ]
    layers += [Dense(units, activation, name=names("dense")) for units in hidden]
    return keras.Sequential([*layers, Dense(num_classes, name="head")], name="mlp")


def convnet(
    image_shape: Sequence[int],
    num_classes: int,
    filters: int = 32,
    kernel_size: int | Sequence[int] = 5,
    strides: int | Sequence[int] = 2,
    activation: Literal["softplus", "sigmoid", "tanh"] = "tanh",
) -> keras.Sequential:
    """A network of one convolution and one dense layer.

    Args:
        image_shape, num_classes, activation: as for :func:`mlp`.
        filters, kernel_size, strides: settings of the convolution.

    Returns:
        ``keras.Sequential``.
    """
    layers = [
        keras.Input(tuple(image_shape), name="input_layer"),
        Conv2D(
            filters,
            kernel_size,
            strides,
            "same",
            data_format="channels_last",
            activation=activation,
            name="conv2d",
        ),
        keras.layers.Flatten(data_format="channels_last", name="flatten"),
        Dense(num_classes, name="head"),
    ]
    return keras.Sequential(layers, name="convnet")


#: The networks by name: functions of the image shape, the number of classes and options.
NETWORKS = {"mlp": mlp, "convnet": convnet}
