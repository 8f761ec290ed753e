"""Architectures of L2-nonexpansive networks: functions that list the layers below the head."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from zoo.layers import (
    ConvexResidual,
    Flatten,
    MaxMin,
    NonexpansiveConv2D,
    NonexpansiveDense,
    NormPooling2D,
    PixelShuffle,
    PixelUnshuffle,
    Roll,
    TwoSidedReLU,
)
from zoo.losses import RowSumRegularizer
from zoo.ops.parametrizations import Parametrization

# The share of the branch in each block of an untrained ResNet.
_START = 0.1


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings that all layers of a network share.

    Attributes:
        width: factor by which the published numbers of filters and units are multiplied.
        activation: ``"two_sided_relu"`` or ``"max_min"``.
        parametrization, divide_before_convolution: see :class:`zoo.layers.NonexpansiveConv2D`.
        regularization: weight of :class:`zoo.losses.RowSumRegularizer`; 0 for none.
    """

    width: float = 1.0
    activation: str = "two_sided_relu"
    parametrization: Parametrization = "row_sum"
    divide_before_convolution: bool = True
    regularization: float = 0.0

    def scaled(self, count: int) -> int:
        """A published number of filters or units times the width, rounded to an even number.

        MaxMin works on pairs of units, so their number must be even.
        """
        return max(2, 2 * round(self.width * count / 2))

    def nonlinearity(self) -> keras.layers.Layer:
        return ACTIVATIONS[self.activation]()

    def dense(self, units: int, **options: Any) -> NonexpansiveDense:
        return NonexpansiveDense(units, **self._kernel(), **options)

    def convolution(
        self, filters: int, kernel_size: int | Sequence[int], **options: Any
    ) -> NonexpansiveConv2D:
        return NonexpansiveConv2D(
            filters,
            kernel_size,
            divide_before_convolution=self.divide_before_convolution,
            **self._kernel(),
            **options,
        )

    def _kernel(self) -> dict[str, Any]:
        regularizer = RowSumRegularizer(self.regularization) if self.regularization else None
        return {"parametrization": self.parametrization, "kernel_regularizer": regularizer}


def convnet(image_shape: Sequence[int], settings: Settings) -> list[keras.layers.Layer]:
    """Two 5 × 5 convolutions with norm pooling, and a dense layer."""
    layers = []
    for filters in (32, 64):
        layers += [
            settings.convolution(settings.scaled(filters), 5),
            settings.nonlinearity(),
            NormPooling2D(2, padding="same"),
        ]
    return [
        *layers,
        Flatten(),
        settings.dense(settings.scaled(1024)),
        settings.nonlinearity(),
    ]


def dense(image_shape: Sequence[int], settings: Settings) -> list[keras.layers.Layer]:
    """Three dense layers of 1,024 units."""
    layers = [Flatten()]
    for _ in range(3):
        layers += [settings.dense(settings.scaled(1024)), settings.nonlinearity()]
    return layers


def resnet20(image_shape: Sequence[int], settings: Settings) -> list[keras.layers.Layer]:
    """Three stages of three pre-activation blocks, each with two 3 × 3 convolutions.

    Every block begins close to its shortcut. Otherwise the nine blocks together would shrink the
    differences of images so much that no loss could see them.
    """
    layers = [settings.convolution(settings.scaled(16), 3)]
    side = max(image_shape[:2])
    for stage, published in enumerate((16, 32, 64)):
        filters = settings.scaled(published)
        for block in range(3):
            strides = 2 if stage and not block else 1
            branch = [
                settings.nonlinearity(),
                settings.convolution(filters, 3, strides=strides),
                settings.nonlinearity(),
                settings.convolution(filters, 3),
            ]
            # A 1 × 1 kernel has windows that do not overlap at any stride.
            shortcut = [settings.convolution(filters, 1, strides=2)] if strides == 2 else []
            layers.append(ConvexResidual(branch, shortcut, start=_START))
            side = -(-side // strides)
    # The pooling window covers the whole feature map, so that one norm per channel is left.
    return [*layers, settings.nonlinearity(), NormPooling2D(side, padding="same"), Flatten()]


def shifted_windows(image_shape: Sequence[int], settings: Settings) -> list[keras.layers.Layer]:
    """Dense maps of windows of 2 × 2 pixels, and two dense layers of 512 units.

    With orthogonal kernels each map of windows preserves distances, whatever the size of the image,
    since windows do not overlap. Between two maps the image is shifted by one pixel, so that
    pixels on both sides of a window's edge come into one window. Images become smaller only by
    moving pixels to channels.
    """
    layers: list[keras.layers.Layer] = []
    for published, maps in ((32, 2), (96, 3)):
        channels = settings.scaled(published)
        layers += [PixelUnshuffle(), settings.dense(channels), settings.nonlinearity()]
        for index in range(maps):
            # Every other shift goes back, so that the image stays where it was.
            layers += [Roll(1 if index % 2 else -1)] if index else []
            layers += [PixelUnshuffle(), settings.dense(4 * channels), PixelShuffle()]
            layers += [settings.nonlinearity()]
    layers += [PixelUnshuffle(), settings.dense(settings.scaled(256)), settings.nonlinearity()]
    layers += [Flatten()]
    for _ in range(2):
        layers += [settings.dense(settings.scaled(512)), settings.nonlinearity()]
    return layers


#: The architectures by name: functions of the image shape and the settings.
NETWORKS = {
    "convnet": convnet,
    "resnet20": resnet20,
    "dense": dense,
    "shifted_windows": shifted_windows,
}

ACTIVATIONS = {"two_sided_relu": TwoSidedReLU, "max_min": MaxMin}
