"""Dense layers."""

import keras
import numpy as np
from keras import ops

from zoo.bounds.rules.affine import KernelRule
from zoo.bounds.rules.rows import rounded_up
from zoo.bounds.rules.rule import register_rule
from zoo.ops.singular_values import dense_norm
from zoo.typing import Array, Tensor


@register_rule(keras.layers.Dense)
class DenseRule(KernelRule):
    def apply(self, tensor: Tensor, kernel: Tensor) -> Tensor:
        return ops.matmul(tensor, kernel)

    def transposed(self, rows: Tensor) -> Tensor:
        kernel = ops.transpose(self.kernel)
        # A ReLU that is off for all perturbed inputs leaves zeros in every row. They are left out
        # if they are many.
        used = ops.any(rows != 0, axis=tuple(range(len(rows.shape) - 1)))
        order = np.argsort(~ops.convert_to_numpy(used), kind="stable")
        count = rounded_up(int(np.sum(ops.convert_to_numpy(used))))
        if rows.shape[1] > 1 and 0 < count < 0.8 * len(order):
            kept = ops.convert_to_tensor(order[:count], "int32")
            rows, kernel = ops.take(rows, kept, axis=-1), ops.take(kernel, kept, axis=0)
        return ops.matmul(rows, kernel)

    def rows_of(self, entries: Array) -> Tensor | None:
        if len(self.input_shape) > 1:
            return None
        return ops.take(ops.transpose(self.kernel), ops.convert_to_tensor(entries, "int32"), axis=0)

    def norm(self, kernel: Array) -> float:
        return dense_norm(kernel)
