"""Layers that move, repeat or drop entries, add zeros, or leave everything alone."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras

from zoo.bounds.graph import Node
from zoo.bounds.rules.affine import AffineRule
from zoo.bounds.rules.rule import refuse, register_rule
from zoo.bounds.window_rows import WindowRows
from zoo.typing import Box, Tensor

if TYPE_CHECKING:
    from zoo.bounds.network_rules import Builder


@register_rule(keras.layers.Flatten, keras.layers.Permute, keras.layers.Reshape)
class MovedRule(AffineRule):
    """A layer that moves entries. Nothing is computed, so nothing is rounded."""

    isometry: float = 1.0
    may_be_removed = True
    may_be_merged = False

    @classmethod
    def expand(cls, builder: "Builder", node: Node, inputs: tuple[int, ...]) -> int:
        # Unlike the default, this accepts channels first: most of these layers have no data format,
        # and Flatten handles its own.
        return builder.add(cls(node.layer, inputs, node.input_shape))

    def check(self) -> None:
        # If channels came first when it was made, Flatten moves them to the end before it flattens.
        first = getattr(self.layer, "data_format", "channels_last") == "channels_first"
        first = first or getattr(self.layer, "_channels_first", False)
        kept = type(self.layer) in (keras.layers.Flatten, keras.layers.Reshape)
        self.keeps_order = kept and not first

    def compute(self, tensors: Sequence[Tensor]) -> Tensor:
        return self.linear(tensors[0])

    def interval(self, boxes: Sequence[Box]) -> Box:
        return tuple(self.linear(end) for end in boxes[0])

    def norms(self) -> tuple[float, float]:
        return self.isometry, self.isometry


@register_rule(keras.layers.Cropping2D, keras.layers.ZeroPadding2D)
class BorderRule(MovedRule):
    """A layer that drops pixels at the border, or adds zeros there."""


@register_rule(keras.layers.UpSampling2D)
class UpSampling2DRule(MovedRule):
    limits = "by repeating pixels"

    def check(self) -> None:
        if self.layer.interpolation != "nearest":
            refuse(self.layer, f"interpolates ({self.layer.interpolation})")
        # Each pixel is repeated prod(size) times, so its square counts that often in the L2 norm.
        self.isometry = math.sqrt(math.prod(self.layer.size))


@register_rule(
    keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout,
    keras.layers.AugMix,
    keras.layers.CutMix,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.MixUp,
    keras.layers.RandAugment,
    keras.layers.RandomBrightness,
    keras.layers.RandomColorDegeneration,
    keras.layers.RandomColorJitter,
    keras.layers.RandomContrast,
    keras.layers.RandomElasticTransform,
    keras.layers.RandomErasing,
    keras.layers.RandomFlip,
    keras.layers.RandomGaussianBlur,
    keras.layers.RandomGrayscale,
    keras.layers.RandomHue,
    keras.layers.RandomInvert,
    keras.layers.RandomPerspective,
    keras.layers.RandomPosterization,
    keras.layers.RandomRotation,
    keras.layers.RandomSaturation,
    keras.layers.RandomSharpness,
    keras.layers.RandomShear,
    keras.layers.RandomTranslation,
    keras.layers.RandomZoom,
    keras.layers.Solarization,
    keras.layers.SpatialDropout2D,
)
class UnchangedRule(MovedRule):
    """A layer that does nothing at inference, that is with ``training=False``.

    Keras runs the layers of augmentation in training mode unless a caller says otherwise, so
    ``model(x)`` augments; ``model.predict`` does not, and neither does whatever is certified.
    """

    takes_windows = True

    def check(self) -> None:
        self.keeps_order = True

    def transposed_windows(self, rows: WindowRows) -> WindowRows:
        return rows

    def linear(self, tensor: Tensor) -> Tensor:
        return tensor

    def transposed(self, rows: Tensor) -> Tensor:
        return rows
