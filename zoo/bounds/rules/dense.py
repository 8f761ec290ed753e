"""Dense layers."""

import keras
from keras import ops

from zoo.bounds.rules.rule import KernelRule, register_rule


@register_rule(keras.layers.Dense)
class DenseRule(KernelRule):
    limits = "without LoRA and quantisation"

    def apply(self, tensor, kernel):
        return ops.matmul(tensor, kernel)

    def transposed(self, rows):
        return ops.matmul(rows, ops.transpose(self.kernel))
