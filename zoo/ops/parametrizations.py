"""Parametrizations that keep kernels nonexpansive.

Some divide a kernel by the roots of sums that bound its norm. One brings it back close to an
orthogonal matrix.
"""

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from keras import ops

from zoo.ops.gram import smaller_gram, smaller_gram_row_sums
from zoo.typing import Tensor

#: The name of a parametrization that dense layers and convolutions accept.
Parametrization: TypeAlias = Literal["free", "row_sum", "almost_orthogonal", "orthogonal"]
#: All of these names.
PARAMETRIZATIONS: tuple[Parametrization, ...] = get_args(Parametrization)


def almost_orthogonal_sums(matrix: Tensor) -> Tensor:
    """The row sums of ``|WᵀW|``, one for each column of W; or those of ``|WWᵀ|``, one for each row.

    The smaller of the two Gram matrices is used. If each column (or row) of W is divided by the
    root of its own sum, the norm of W becomes at most 1. Unlike with one common factor, W then
    nearly preserves the lengths of many vectors.

    Returns:
        Tensor ``(units,)`` for columns, or ``(inputs, 1)`` for rows.

    Reference:
        Prach, Lampert: Almost-Orthogonal Layers for Efficient General-Purpose Lipschitz Networks,
        ECCV 2022, theorem 1.
    """
    sums, wide = smaller_gram_row_sums(matrix)
    return sums[:, None] if wide else sums


def almost_orthogonal_convolution_sums(kernel: Tensor, strides: Sequence[int]) -> Tensor:
    """:func:`almost_orthogonal_sums` of a convolution, which may have strides and overlaps.

    The Gram matrix of a convolution consists of the correlations of its filters, or of its
    channels, at all shifts. With zero padding some of these do not occur, so the sums are still
    upper bounds.

    Args:
        kernel: tensor ``(height, width, channels, filters)``.
        strides: ``(vertical, horizontal)``.

    Returns:
        Tensor ``(filters,)`` or ``(height, width, channels, 1)``. If the kernel is divided by the
        root of it, the convolution has a norm of at most 1 on images of any size.

    Reference:
        Prach, Lampert, ECCV 2022, theorem 2.
    """
    height, width, channels, filters = kernel.shape
    rows, columns = (math.ceil(k / s) for k, s in zip((height, width), strides, strict=True))
    blocked_channels = strides[0] * strides[1] * channels
    # If each block of s × s pixels is taken as one pixel with more channels, the stride is 1.
    blocked = ops.pad(
        kernel,
        ((0, rows * strides[0] - height), (0, columns * strides[1] - width), (0, 0), (0, 0)),
    )
    blocked = ops.reshape(blocked, (rows, strides[0], columns, strides[1], channels, filters))
    blocked = ops.reshape(
        ops.transpose(blocked, (0, 2, 1, 3, 4, 5)), (rows, columns, blocked_channels, filters)
    )
    if filters <= blocked_channels:
        return _correlation_sums(blocked)
    sums = _correlation_sums(ops.transpose(blocked, (0, 1, 3, 2)))
    sums = ops.reshape(sums, (strides[0], strides[1], channels))
    return ops.tile(sums, (rows, columns, 1))[:height, :width, :, None]


def _correlation_sums(kernel: Tensor) -> Tensor:
    """For each filter, the sum of its absolute correlations with all filters at all shifts."""
    images = ops.transpose(kernel, (3, 0, 1, 2))
    rows, columns = kernel.shape[:2]
    margins = ((0, 0), (rows - 1, rows - 1), (columns - 1, columns - 1), (0, 0))
    correlation = ops.conv(
        ops.pad(images, margins), kernel, padding="valid", data_format="channels_last"
    )
    return ops.sum(ops.abs(correlation), axis=(1, 2, 3))


def towards_orthogonal(matrix: Tensor) -> Tensor:
    """One step of Björck's iteration towards the orthogonal matrix that is nearest to ``W``.

    After the step no singular value is above 1. A singular value close to 1 becomes much closer:
    ``1 − δ`` becomes about ``1 − 3δ²/2``. A matrix with a large norm is scaled down first.

    Args:
        matrix: tensor ``(inputs, units)``.

    Returns:
        Tensor of the same shape.

    Reference:
        Björck, Bowie: An Iterative Algorithm for Computing the Best Estimate of an Orthogonal
        Matrix, SIAM J. Numer. Anal. 1971.
    """
    gram, wide = smaller_gram(matrix)
    identity = ops.eye(gram.shape[0], dtype=gram.dtype)
    # Two upper bounds of ‖W‖²: the first is tighter near orthogonal matrices, the second far away.
    square = ops.minimum(1.0 + ops.norm(gram - identity), ops.max(ops.sum(ops.abs(gram), axis=1)))
    # The step maps singular values of up to √3 into [0, 1], but those near √3 close to 0. So the
    # matrix is scaled to a norm of at most √2.
    scale = 2.0 / ops.maximum(square, 2.0)
    step = 1.5 * identity - 0.5 * scale * gram
    matrix = ops.sqrt(scale) * matrix
    return ops.matmul(step, matrix) if wide else ops.matmul(matrix, step)
