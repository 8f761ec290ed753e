"""Gram matrices of kernels, whose absolute row sums bound singular values."""

from keras import ops

from zoo.typing import Tensor

# If the ratio of a kernel's sides exceeds this, its larger Gram matrix is not computed.
_LOPSIDED = 4


def smaller_gram(matrix: Tensor) -> tuple[Tensor, bool]:
    """The smaller Gram matrix of a matrix ``W (inputs, units)``.

    Returns:
        ``(gram, wide)``: ``WWᵀ`` and True if there are more units than inputs, otherwise ``WᵀW``
        and False.
    """
    wide = matrix.shape[1] > matrix.shape[0]
    transposed = ops.transpose(matrix)
    return (ops.matmul(matrix, transposed) if wide else ops.matmul(transposed, matrix)), wide


def gram_row_sums(matrix: Tensor) -> tuple[Tensor, ...]:
    """Absolute row sums of the Gram matrices of ``W (inputs, units)`` that are worth computing.

    The largest row sum of either matrix is an upper bound of ``‖W‖₂²``. If one side of ``W`` is
    more than four times the other, only the smaller matrix is computed. The larger one then costs
    more than four times as much, and its row sums are rarely smaller: it has more columns, and if
    ``W`` is close to orthogonal, the smaller matrix is close to the identity.

    Returns:
        One tensor or two: the sums of the smaller matrix, and those of the larger one.
    """
    matrix = ops.convert_to_tensor(matrix)
    gram, wide = smaller_gram(matrix)
    sums = ops.sum(ops.abs(gram), axis=1)
    if max(matrix.shape) > _LOPSIDED * min(matrix.shape):
        return (sums,)
    transposed = ops.transpose(matrix)
    larger = ops.matmul(transposed, matrix) if wide else ops.matmul(matrix, transposed)
    return sums, ops.sum(ops.abs(larger), axis=1)
