"""Layers that add up their sums in blocks, so that float32 rounds each product only a few times."""

import math
from collections.abc import Sequence

from keras import ops

from zoo.bounds.rules.affine import KernelRule
from zoo.bounds.rules.conv import ConvRule
from zoo.bounds.rules.dense import DenseRule
from zoo.bounds.rules.rule import refuse, register_rule
from zoo.layers.conv import Conv2D
from zoo.layers.dense import Dense
from zoo.ops.blocked_conv import blocked_conv, channel_blocks
from zoo.ops.blocked_matmul import blocked_matmul, blocks_of
from zoo.typing import Array, Tensor


class _BlockedRule(KernelRule):
    # The rules of Keras's layers, in whose place these stand, compute as training does.
    def compute(self, tensors: Sequence[Tensor]) -> Tensor:
        outputs = self.computed(tensors[0], ops.convert_to_tensor(self.layer.kernel))
        return outputs + ops.convert_to_tensor(self.layer.bias) if self.layer.use_bias else outputs


@register_rule(Dense)
class BlockedDenseRule(_BlockedRule, DenseRule):
    def depth(self, kernel: Array) -> int:
        return blocks_of(kernel.shape[0])[1] + 3

    def computed(self, tensor: Tensor, kernel: Tensor) -> Tensor:
        return blocked_matmul(tensor, kernel)


@register_rule(Conv2D)
class BlockedConvRule(_BlockedRule, ConvRule):
    def check(self) -> None:
        super().check()
        if self.layer.groups != 1 or math.prod(self.layer.dilation_rate) != 1:
            refuse(self.layer, "was given groups or dilation after it was built")

    def depth(self, kernel: Array) -> int:
        return channel_blocks(math.prod(kernel.shape[:2]), kernel.shape[2])[1] + 3

    def _channels_at_once(self) -> int:
        channels = super()._channels_at_once()
        return channels // channel_blocks(math.prod(self.layer.kernel_size), channels)[0]

    def computed(self, tensor: Tensor, kernel: Tensor) -> Tensor:
        return blocked_conv(tensor, kernel, self.layer.strides, self.layer.padding)
