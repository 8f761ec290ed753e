"""Layers that move, repeat or drop entries, add zeros, or leave everything alone."""

import math

import keras

from zoo.bounds.rules.rule import AffineRule, refuse, register_rule


@register_rule(
    keras.layers.Cropping2D,
    keras.layers.Flatten,
    keras.layers.Permute,
    keras.layers.Reshape,
    keras.layers.ZeroPadding2D,
)
class MovedRule(AffineRule):
    isometry = 1.0

    def interval(self, boxes):
        return tuple(self.linear(end) for end in boxes[0])


@register_rule(keras.layers.UpSampling2D)
class UpSampling2DRule(MovedRule):
    limits = "by repeating pixels"

    def check(self):
        if self.layer.interpolation != "nearest":
            refuse(self.layer, f"interpolates ({self.layer.interpolation})")
        # Each pixel is repeated so many times.
        self.isometry = math.sqrt(math.prod(self.layer.size))


@register_rule(
    keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.RandomBrightness,
    keras.layers.RandomContrast,
    keras.layers.RandomFlip,
    keras.layers.RandomRotation,
    keras.layers.RandomTranslation,
    keras.layers.RandomZoom,
    keras.layers.SpatialDropout2D,
)
class UnchangedRule(MovedRule):
    """A layer that does nothing at inference."""

    def linear(self, tensor):
        return tensor

    def transposed(self, rows):
        return rows
