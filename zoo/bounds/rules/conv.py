"""Convolutions."""

import math

import keras
from keras import ops

from zoo.bounds.rules.rule import KernelRule, refuse, register_rule


@register_rule(keras.layers.Conv1D, keras.layers.Conv2D)
class ConvRule(KernelRule):
    limits = "without LoRA and quantisation"

    def check(self):
        if self.layer.padding == "causal":
            refuse(self.layer, "pads causally")

    def apply(self, tensor, kernel):
        # A group's kernel has as many channels as the group, which is how `conv` knows of groups.
        # One group at a time: TensorFlow has no gradients of grouped convolutions on a CPU.
        groups = self.layer.groups
        if groups > 1:
            inputs, kernels = ops.split(tensor, groups, axis=-1), ops.split(kernel, groups, axis=-1)
            parts = zip(inputs, kernels, strict=True)
            return ops.concatenate([self._conv(*part) for part in parts], axis=-1)
        return self._conv(tensor, kernel)

    def _conv(self, tensor, kernel):
        return ops.conv(
            tensor,
            kernel,
            self.layer.strides,
            self.layer.padding,
            data_format="channels_last",
            dilation_rate=self.layer.dilation_rate,
        )


@register_rule(keras.layers.DepthwiseConv2D)
class DepthwiseConv2DRule(KernelRule):
    limits = "without dilation"

    def check(self):
        if math.prod(self.layer.dilation_rate) != 1:
            refuse(self.layer, "has dilation")

    def apply(self, tensor, kernel):
        return ops.depthwise_conv(
            tensor, kernel, self.layer.strides, self.layer.padding, data_format="channels_last"
        )
