"""The networks of the paper on L1-norm double backpropagation, as ordinary Keras models."""

from collections.abc import Iterable, Sequence

import keras

from zoo.models.layer_names import LayerNames


def _convolutional(
    name: str,
    settings: Iterable[tuple[int, int, int, str]],
    hidden: Sequence[int],
    image_shape: Sequence[int],
    num_classes: int,
    *,
    least: int,
) -> keras.Sequential:
    height, width, _ = image_shape
    if min(height, width) < least:
        raise ValueError(
            f"the network {name!r} takes images of at least {least} × {least} pixels, got "
            f"{height} × {width}"
        )
    names = LayerNames()
    layers = [keras.Input(tuple(image_shape), name="input_layer")]
    for filters, size, strides, padding in settings:
        layers.append(
            keras.layers.Conv2D(
                filters,
                size,
                strides,
                padding,
                data_format="channels_last",
                activation="relu",
                name=names("conv2d"),
            )
        )
    return _dense(name, layers, hidden, num_classes)


def _dense(
    name: str, layers: list[keras.layers.Layer], hidden: Sequence[int], num_classes: int
) -> keras.Sequential:
    names = LayerNames()
    layers.append(keras.layers.Flatten(data_format="channels_last", name="flatten"))
    layers += [
        keras.layers.Dense(units, activation="relu", name=names("dense")) for units in hidden
    ]
    return keras.Sequential([*layers, keras.layers.Dense(num_classes, name="head")], name=name)


def model_a(image_shape: Sequence[int], num_classes: int) -> keras.Sequential:
    """Model A of the paper: three convolutions, 710,218 parameters for 28 × 28 images.

    Args:
        image_shape: ``(height, width, channels)``; the images have at least 27 × 27 pixels.
        num_classes: number of logits.

    Returns:
        ``keras.Sequential``.

    Raises:
        ValueError: if the images are smaller.
    """
    settings = [(64, 8, 2, "same"), (128, 6, 2, "valid"), (128, 5, 1, "valid")]
    return _convolutional("model_a", settings, (), image_shape, num_classes, least=27)


def model_b(image_shape: Sequence[int], num_classes: int) -> keras.Sequential:
    """Model B of the paper: two convolutions and a hidden dense layer, 1,460,938 parameters.

    Args:
        image_shape: ``(height, width, channels)``; the images have at least 3 × 3 pixels.
        num_classes: number of logits.

    Raises:
        ValueError: if the images are smaller.
    """
    settings = [(128, 3, 1, "same"), (64, 3, 2, "valid")]
    return _convolutional("model_b", settings, (128,), image_shape, num_classes, least=3)


def model_c(
    image_shape: Sequence[int], num_classes: int, hidden: Sequence[int] = (512, 256, 128)
) -> keras.Sequential:
    """Model C of the paper: dense layers, 567,434 parameters.

    Args:
        image_shape: ``(height, width, channels)``, of any size.
        num_classes: number of logits.
        hidden: number of units of each hidden layer.
    """
    layers = [keras.Input(tuple(image_shape), name="input_layer")]
    return _dense("model_c", layers, hidden, num_classes)


#: The networks by name: functions of the image shape and the number of classes.
NETWORKS = {"a": model_a, "b": model_b, "c": model_c}
