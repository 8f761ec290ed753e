"""Convolutions."""

import keras
from keras import ops

from zoo.bounds.rules.rule import KernelRule, register_rule


@register_rule(keras.layers.Conv2D)
class Conv2DRule(KernelRule):
    def apply(self, tensor, kernel):
        return ops.conv(
            tensor, kernel, self.layer.strides, self.layer.padding, data_format="channels_last"
        )
