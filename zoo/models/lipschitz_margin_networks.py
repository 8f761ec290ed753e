"""Networks of the Lipschitz-margin papers, as ordinary Keras models."""

from collections.abc import Sequence
from typing import Literal

import keras

from zoo.layers import Conv2D, Dense, MaxMin
from zoo.models.layer_names import LayerNames
from zoo.typing import Tensor
from zoo.utils import checks


def mlp(
    image_shape: Sequence[int],
    num_classes: int,
    hidden: Sequence[int] = (100, 100, 100),
    activation: Literal["relu", "max_min"] = "relu",
) -> keras.Sequential:
    """A network of dense layers; the defaults are the published network for MNIST.

    Args:
        image_shape: ``(height, width, channels)``.
        num_classes: number of logits.
        hidden: number of units of each hidden layer.
        activation: ``"relu"`` or ``"max_min"``.

    Returns:
        ``keras.Sequential``.
    """
    names = LayerNames()
    layers = [
        keras.Input(tuple(image_shape), name="input_layer"),
        keras.layers.Flatten(data_format="channels_last", name="flatten"),
    ]
    for units in hidden:
        layers += [_dense(units, names("dense")), _activation(activation, names)]
    return keras.Sequential([*layers, _dense(num_classes, "head")], name="mlp")


def convnet(
    image_shape: Sequence[int],
    num_classes: int,
    filters: Sequence[int] = (32, 64),
    kernel_size: int | Sequence[int] = 4,
    hidden: Sequence[int] = (256,),
    activation: Literal["relu", "max_min"] = "relu",
    strides: int | Sequence[int] = 2,
) -> keras.Sequential:
    """A network of convolutions, followed by dense layers.

    The network 4C3F of several papers has ``filters=(32, 32, 64, 64)``, ``kernel_size=3``,
    ``strides=(1, 2, 1, 2)`` and ``hidden=(512, 512)``.

    Args:
        image_shape, num_classes, activation: as for :func:`mlp`.
        filters: number of filters of each convolution.
        kernel_size: height and width of the kernels.
        hidden: number of units of each hidden dense layer.
        strides: stride of all convolutions, or one for each of them.

    Returns:
        ``keras.Sequential``.

    Raises:
        ValueError: if there are not as many strides as convolutions.
    """
    strides = [strides] * len(filters) if isinstance(strides, int) else list(strides)
    if len(strides) != len(filters):
        raise ValueError(f"expected {len(filters)} strides, one per convolution, got {strides}")
    names = LayerNames()
    layers = [keras.Input(tuple(image_shape), name="input_layer")]
    for count, stride in zip(filters, strides, strict=True):
        layers += [
            Conv2D(
                count,
                kernel_size,
                stride,
                "same",
                data_format="channels_last",
                kernel_initializer="orthogonal",
                name=names("conv2d"),
            ),
            _activation(activation, names),
        ]
    layers.append(keras.layers.Flatten(data_format="channels_last", name="flatten"))
    for units in hidden:
        layers += [_dense(units, names("dense")), _activation(activation, names)]
    return keras.Sequential([*layers, _dense(num_classes, "head")], name="convnet")


def wide_resnet(
    image_shape: Sequence[int],
    num_classes: int,
    depth: int = 16,
    width: int = 4,
    dropout: float = 0.4,
) -> keras.Model:
    """A wide residual network: three stages of pre-activation residual blocks.

    Args:
        image_shape, num_classes: as for :func:`mlp`.
        depth: number of layers, ``6 n + 4`` for n blocks per stage.
        width: factor by which 16, 32 and 64 filters, those of the stages, are multiplied.
        dropout: dropout rate between the two convolutions of a block.

    Returns:
        Functional ``keras.Model``.

    Raises:
        ValueError: if the depth is not ``6 n + 4`` for a whole number n of blocks.

    Reference:
        Zagoruyko, Komodakis: Wide Residual Networks, BMVC 2016.
    """
    blocks, rest = divmod(checks.positive_integer(depth, "depth") - 4, 6)
    if rest or blocks < 1:
        raise ValueError(f"depth must be 6 n + 4 for some n, got {depth}")
    names = LayerNames()

    def convolution(
        inputs: Tensor, filters: int, kernel_size: int | Sequence[int] = 3, strides: int = 1
    ) -> Tensor:
        return Conv2D(
            filters,
            kernel_size,
            strides,
            "same",
            data_format="channels_last",
            use_bias=False,
            kernel_initializer="he_normal",
            name=names("conv2d"),
        )(inputs)

    def normalised(inputs: Tensor) -> Tensor:
        # Training estimates the bound with the moving variance, so that must follow quickly.
        name = names("batch_normalization")
        normalisation = keras.layers.BatchNormalization(momentum=0.9, name=name)
        return keras.layers.ReLU(name=names("re_lu"))(normalisation(inputs))

    inputs = keras.Input(tuple(image_shape), name="input_layer")
    z = convolution(inputs, 16)
    for stage, published in enumerate((16, 32, 64)):
        filters = checks.positive_integer(published * width, "width")
        for block in range(blocks):
            strides = 2 if stage and not block else 1
            before = normalised(z)
            branch = normalised(convolution(before, filters, strides=strides))
            branch = keras.layers.Dropout(dropout, name=names("dropout"))(branch)
            branch = convolution(branch, filters)
            same = z.shape[-1] == filters and strides == 1
            shortcut = z if same else convolution(before, filters, 1, strides)
            z = keras.layers.Add(name=names("add"))([branch, shortcut])
    z = keras.layers.GlobalAveragePooling2D(
        data_format="channels_last", name="global_average_pooling2d"
    )(normalised(z))
    name = f"wide_resnet_{depth}_{width}"
    return keras.Model(inputs, Dense(num_classes, name="head")(z), name=name)


def _dense(units: int, name: str) -> Dense:
    return Dense(units, kernel_initializer="orthogonal", name=name)


def _activation(activation: str, names: LayerNames) -> keras.layers.Layer:
    known = {"relu": (keras.layers.ReLU, "re_lu"), "max_min": (MaxMin, "max_min")}
    kind, name = known[checks.one_of(known)(activation, "activation")]
    return kind(name=names(name))


#: The networks by name: functions of the image shape, the number of classes and options.
NETWORKS = {"mlp": mlp, "convnet": convnet, "wide_resnet": wide_resnet}
