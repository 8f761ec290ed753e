"""From any matrix or convolution kernel to a nonexpansive one, differentiably."""

import math

from keras import ops

from zoo.ops.singular_values import gram_row_sums, row_sum_bound

# Row sums are no smaller: a kernel of zeros stays one.
_SMALLEST = 1e-12
# Each of Björck's steps makes a small singular value half as large again.
_STEPS = 12


def free(matrix):
    """As it is: whatever its norm, for a regulariser to bring down."""
    return matrix


def row_sum(matrix):
    """``W / √b(W)``, ``b`` the bound by row sums: norm at most 1, of the largest singular value.

    Reference:
        Qian, Wegman: L2-Nonexpansive Neural Networks, ICLR 2019, section 2.2.
    """
    return matrix / ops.sqrt(ops.maximum(row_sum_bound(matrix), _SMALLEST))


def almost_orthogonal(matrix):
    """``W`` with each row or column divided by the root of its own sum in the Gram matrix.

    On the side with fewer of them. Norm at most 1 and, unlike with one factor for all, close to 1
    in many directions.

    Reference:
        Prach, Lampert: Almost-Orthogonal Layers for Efficient General-Purpose Lipschitz Networks,
        ECCV 2022, theorem 1.
    """
    columns, rows = gram_row_sums(matrix)
    if matrix.shape[1] <= matrix.shape[0]:
        return matrix * _inverse_root(columns)
    return matrix * _inverse_root(rows)[:, None]


def orthogonal(matrix):
    """The orthogonal matrix near ``W``, by Björck's iteration: every singular value close to 1.

    Starts from :func:`row_sum`, so that no singular value is above 1; none then comes out above 1,
    and small ones come out smaller than 1.

    Reference:
        Björck, Bowie, SIAM J. Numer. Anal. 1971; Anil, Lucas, Grosse, ICML 2019, section 4.1.
    """
    matrix = row_sum(matrix)
    wide = matrix.shape[1] > matrix.shape[0]
    for _ in range(_STEPS):
        transposed = ops.transpose(matrix)
        if wide:
            correction = ops.matmul(ops.matmul(matrix, transposed), matrix)
        else:
            correction = ops.matmul(matrix, ops.matmul(transposed, matrix))
        matrix = 1.5 * matrix - 0.5 * correction
    return matrix


#: By name, for matrices ``(inputs, units)``. Convolutions have an almost orthogonal form of their
#: own below.
PARAMETRIZATIONS = {
    "free": free,
    "row_sum": row_sum,
    "almost_orthogonal": almost_orthogonal,
    "orthogonal": orthogonal,
}


def almost_orthogonal_convolution(kernel, strides):
    """:func:`almost_orthogonal` for a convolution, windows that overlap and strides included.

    The Gram matrix of a convolution is the correlation of its filters, or of its channels, at all
    shifts. Zero padding only takes a part of it.

    Args:
        kernel: tensor ``(height, width, channels, filters)``.
        strides: ``(vertical, horizontal)``.

    Returns:
        Tensor of the shape of ``kernel``: a convolution with norm at most 1 on images of any size.

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
        return kernel * _inverse_root(_correlation_sums(blocked))
    sums = _correlation_sums(ops.transpose(blocked, (0, 1, 3, 2)))
    factors = ops.reshape(_inverse_root(sums), (strides[0], strides[1], channels))
    factors = ops.tile(factors, (rows, columns, 1))[:height, :width]
    return kernel * factors[..., None]


def _correlation_sums(kernel):
    """Per filter, ``Σ |correlation|`` with every filter at every shift: tensor ``(filters,)``."""
    images = ops.transpose(kernel, (3, 0, 1, 2))
    rows, columns = kernel.shape[:2]
    margins = ((0, 0), (rows - 1, rows - 1), (columns - 1, columns - 1), (0, 0))
    correlation = ops.conv(ops.pad(images, margins), kernel, padding="valid")
    return ops.sum(ops.abs(correlation), axis=(1, 2, 3))


def _inverse_root(sums):
    return 1.0 / ops.sqrt(ops.maximum(sums, _SMALLEST))
