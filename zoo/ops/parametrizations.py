"""How a kernel is kept from stretching: what it is divided by, or where it is brought back to."""

import math

from keras import ops

from zoo.ops.singular_values import row_sum_bound

#: Names, of dense layers and of convolutions alike.
PARAMETRIZATIONS = ("free", "row_sum", "almost_orthogonal", "orthogonal")


def row_sums(matrix):
    """``b(W)``, the bound of ``‖W‖²`` by row sums: ``W / √b(W)`` is nonexpansive.

    Reference:
        Qian, Wegman: L2-Nonexpansive Neural Networks, ICLR 2019, section 2.2.
    """
    return row_sum_bound(matrix)


def almost_orthogonal_sums(matrix):
    """Per column or row of ``W``, whichever are fewer, its sum of ``|WᵀW|`` or ``|WWᵀ|``.

    With each divided by the root of its own sum, the norm is at most 1 and, unlike with one factor
    for all, close to 1 in many directions.

    Returns:
        Tensor ``(units,)`` or ``(inputs, 1)``.

    Reference:
        Prach, Lampert: Almost-Orthogonal Layers for Efficient General-Purpose Lipschitz Networks,
        ECCV 2022, theorem 1.
    """
    gram, wide = smaller_gram(matrix)
    sums = ops.sum(ops.abs(gram), axis=1)
    return sums[:, None] if wide else sums


def almost_orthogonal_convolution_sums(kernel, strides):
    """:func:`almost_orthogonal_sums` for a convolution, windows that overlap and strides included.

    The Gram matrix of a convolution is the correlation of its filters, or of its channels, at all
    shifts. Zero padding only takes a part of it.

    Args:
        kernel: tensor ``(height, width, channels, filters)``.
        strides: ``(vertical, horizontal)``.

    Returns:
        Tensor ``(filters,)`` or ``(height, width, channels, 1)``. Divided by its root, the kernel
        is a convolution with norm at most 1 on images of any size.

    Reference:
        Prach, Lampert, ECCV 2022, theorem 2.
    """
    height, width, channels, filters = kernel.shape
    rows, columns = (math.ceil(k / s) for k, s in zip((height, width), strides, strict=True))
    blocked_channels = strides[0] * strides[1] * channels
    # With blocks of s × s pixels as channels the stride is 1.
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


def _correlation_sums(kernel):
    """Per filter, ``Σ |correlation|`` with every filter at every shift: tensor ``(filters,)``."""
    images = ops.transpose(kernel, (3, 0, 1, 2))
    rows, columns = kernel.shape[:2]
    margins = ((0, 0), (rows - 1, rows - 1), (columns - 1, columns - 1), (0, 0))
    correlation = ops.conv(
        ops.pad(images, margins), kernel, padding="valid", data_format="channels_last"
    )
    return ops.sum(ops.abs(correlation), axis=(1, 2, 3))


def smaller_gram(matrix):
    """``WᵀW``, or ``WWᵀ`` if there are more units than inputs; and whether there are."""
    wide = matrix.shape[1] > matrix.shape[0]
    transposed = ops.transpose(matrix)
    return (ops.matmul(matrix, transposed) if wide else ops.matmul(transposed, matrix)), wide


def towards_orthogonal(matrix):
    """One step of Björck's iteration, towards the orthogonal matrix nearest to ``W``.

    No singular value comes out above 1, and those close to 1 come out much closer: ``1 − δ`` as
    ``1 − 3δ²/2``. A matrix that is far away is scaled down first.

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
    # Two bounds of ‖W‖², one close to it near the orthogonal matrices, the other far away.
    square = ops.minimum(1.0 + ops.norm(gram - identity), ops.max(ops.sum(ops.abs(gram), axis=1)))
    # The step takes singular values of up to √3 into [0, 1], but those near √3 to 0.
    scale = 2.0 / ops.maximum(square, 2.0)
    step = 1.5 * identity - 0.5 * scale * gram
    matrix = ops.sqrt(scale) * matrix
    return ops.matmul(step, matrix) if wide else ops.matmul(matrix, step)
