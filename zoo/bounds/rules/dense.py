"""Dense layers."""

import keras
from keras import ops

from zoo.bounds.rules.affine import KernelRule
from zoo.bounds.rules.rule import register_rule
from zoo.ops.singular_values import dense_norm
from zoo.typing import Array, Tensor


@register_rule(keras.layers.Dense)
class DenseRule(KernelRule):
    def apply(self, tensor: Tensor, kernel: Tensor) -> Tensor:
        return ops.matmul(tensor, kernel)

    def transposed(self, rows: Tensor) -> Tensor:
        return ops.matmul(rows, ops.transpose(self.kernel))

    def norm(self, kernel: Array) -> float:
        return dense_norm(kernel)
