"""Dense layers."""

import keras
from keras import ops

from zoo.bounds.rules.affine import KernelRule
from zoo.bounds.rules.rule import register_rule
from zoo.ops.singular_values import dense_norm


@register_rule(keras.layers.Dense)
class DenseRule(KernelRule):
    def apply(self, tensor, kernel):
        return ops.matmul(tensor, kernel)

    def transposed(self, rows):
        return ops.matmul(rows, ops.transpose(self.kernel))

    def norm(self, kernel):
        return dense_norm(kernel)
