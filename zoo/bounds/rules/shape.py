"""Layers that move entries around, add zeros, or leave everything alone."""

import keras

from zoo.bounds.rules.rule import AffineRule, register_rule


@register_rule(keras.layers.Flatten, keras.layers.Reshape, keras.layers.ZeroPadding2D)
class MovedRule(AffineRule):
    isometry = 1.0

    def interval(self, boxes):
        return tuple(self.linear(end) for end in boxes[0])


@register_rule(keras.layers.Dropout, keras.layers.SpatialDropout2D)
class UnchangedRule(MovedRule):
    """A layer that does nothing at inference."""

    def linear(self, tensor):
        return tensor

    def transposed(self, rows):
        return rows
