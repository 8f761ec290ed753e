"""Operations on rows and boxes.

A row holds the coefficients of a linear function. Linear relaxation propagates rows from the output
of a network to its input.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from zoo.bounds.window_rows import WindowRows
from zoo.ops.gradients import input_gradient
from zoo.typing import Box, Shape, Tensor


def through_transposed(
    linear: Callable[[Tensor], Tensor], rows: Tensor, input_shape: Shape
) -> Tensor:
    """The transpose of a linear function, applied to rows ``(batch, rows, *output_shape)``.

    Args:
        linear: the linear function, from a tensor ``(n, *input_shape)`` to one
            ``(n, *output_shape)``.
        rows: float64 tensor.
        input_shape: shape of an input of ``linear`` without the batch.
    """
    flat = ops.reshape(rows, (-1, *rows.shape[2:]))
    zeros = ops.zeros((flat.shape[0], *input_shape), "float64")
    flat = input_gradient(lambda x: linear(x) * flat, zeros)
    return ops.reshape(flat, (*rows.shape[:2], *input_shape))


def sizes(box: Box) -> Tensor:
    """The largest absolute value that each entry has in a box."""
    return ops.maximum(*map(ops.abs, box))


def products(rows: Any, offset: Tensor) -> Tensor:
    """Each row's product with a tensor ``(batch or 1, *shape)``, or one that broadcasts to it."""
    if isinstance(rows, WindowRows):
        # The rows are zero outside of the image, where nothing must be added.
        if np.ndim(offset) and math.prod(offset.shape[:-1]) > 1:
            batch = offset.shape[0] if len(offset.shape) == 4 else 1
            offset = rows.of(ops.broadcast_to(offset, (batch, *rows.image_shape)))
            return ops.sum(rows.values * offset, axis=(2, 3, 4))
        rows, offset = rows.values, offset if np.ndim(offset) == 0 else ops.reshape(offset, (-1,))
    axes = tuple(range(2, len(rows.shape)))
    if np.ndim(offset) == 0:
        # The offset is usually the number 0, and then there is nothing to compute.
        return 0.0 if isinstance(offset, float) and offset == 0.0 else offset * ops.sum(rows, axes)
    offset = ops.reshape(offset, (*[1] * (len(rows.shape) - 1 - len(offset.shape)), *offset.shape))
    if len(offset.shape) == len(rows.shape) - 1:
        offset = offset[:, None]
    return ops.sum(rows * offset, axis=axes)


def rounded_up(count: int) -> int:
    """The next number with three significant bits.

    JAX compiles its operations anew for every shape, so numbers of rows take few values only.
    """
    step = 1 << max(0, count.bit_length() - 3)
    return -(-count // step) * step
