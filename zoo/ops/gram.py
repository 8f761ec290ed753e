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


def smaller_gram_row_sums(matrix: Tensor) -> tuple[Tensor, bool]:
    """The absolute row sums of the smaller Gram matrix, and ``wide`` as in :func:`smaller_gram`."""
    wide = matrix.shape[1] > matrix.shape[0]
    return (_sums_of_rows(matrix) if wide else _sums_of_columns(matrix)), wide


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
    sums, wide = smaller_gram_row_sums(matrix)
    if max(matrix.shape) > _LOPSIDED * min(matrix.shape):
        return (sums,)
    return sums, (_sums_of_columns(matrix) if wide else _sums_of_rows(matrix))


def _sums_of_columns(matrix: Tensor) -> Tensor:
    """The absolute row sums of ``WᵀW``, with one sum for each column of W."""
    return _symmetric_row_sums(ops.matmul(ops.stop_gradient(ops.transpose(matrix)), matrix))


def _sums_of_rows(matrix: Tensor) -> Tensor:
    """The absolute row sums of ``WWᵀ``, with one sum for each row of W."""
    return _symmetric_row_sums(ops.matmul(matrix, ops.stop_gradient(ops.transpose(matrix))))


def _symmetric_row_sums(gram: Tensor) -> Tensor:
    """Absolute row sums of a Gram matrix in which one of the two factors ``W`` counts as constant.

    The gradient through both factors takes two products of matrices, and that of one factor only
    one. The Gram matrix G is symmetric. So the part of the gradient of row sum i that goes through
    the constant factor at the entries ``G[i, j]`` is the part that goes through the other factor at
    the entries ``G[j, i]``. The column sums add this part, while their value is taken away again.
    """
    absolute = ops.abs(gram)
    mirrored = ops.sum(absolute, axis=0)
    return ops.sum(absolute, axis=1) + (mirrored - ops.stop_gradient(mirrored))
