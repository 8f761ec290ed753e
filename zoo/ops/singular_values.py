"""Upper bounds of the largest singular value of dense layers and convolutions."""

import functools
import math
from collections.abc import Sequence

import numpy as np
from keras import ops

from zoo.ops.gram import gram_row_sums
from zoo.ops.largest_eigenvalue import UNIT_ROUNDOFF64, gram_error, largest_eigenvalue
from zoo.ops.precision import float64
from zoo.ops.windows import Windows
from zoo.typing import Array, ArrayLike, Padding, Tensor
from zoo.utils.float64 import SLACK

# At most this many entries of Fourier-transformed kernels are held at a time.
_BLOCK = 1 << 24


def row_sum_bound(matrix: Tensor) -> Tensor:
    """Upper bound of ``‖W‖₂²``: the largest absolute row sum of a Gram matrix.

    It is the smaller of ``‖WᵀW‖_∞`` and ``‖WWᵀ‖_∞``. If one side of ``W`` is more than four times
    the other, it is the sum of the smaller matrix, because the larger one costs far more. The bound
    is cheap and differentiable, which training needs, and it is sound apart from rounding.

    Args:
        matrix: tensor ``(inputs, units)``, float.

    Returns:
        Scalar tensor.

    Examples:
        >>> import numpy as np
        >>> from zoo.ops import row_sum_bound
        >>> float(row_sum_bound(np.array([[3.0, 0.0], [0.0, 4.0]])))
        16.0

    Reference:
        Qian, Wegman: L2-Nonexpansive Neural Networks, ICLR 2019, section 2.2.
    """
    return functools.reduce(ops.minimum, map(ops.max, gram_row_sums(matrix)))


def dense_norm(kernel: ArrayLike) -> float:
    """Upper bound of ``‖W‖₂``, proven by a Cholesky factorisation in float64.

    Args:
        kernel: array ``(inputs, units)``.

    Returns:
        float, which usually exceeds the norm by a factor of less than ``1 + 2e-9``, and by one of
        ``1 + 1e-7`` if the norm is hard to estimate.

    Raises:
        ValueError: if the kernel is no matrix, or has an entry that is not finite.

    Examples:
        >>> import numpy as np
        >>> from zoo.ops import dense_norm
        >>> round(dense_norm(np.array([[3.0, 0.0], [0.0, 4.0]])), 6)
        4.0
    """
    kernel = _float64(kernel, 2)
    largest = np.abs(kernel).max(initial=0.0)
    if largest == 0.0:
        return 0.0
    # The scale is a power of two, so that no square of a large entry overflows and no rounding is
    # added. What small entries lose by underflow is far below the rounding of the largest one.
    exponent = int(np.frexp(largest)[1])
    scaled = np.ldexp(kernel, -exponent)
    rows = scaled if scaled.shape[0] <= scaled.shape[1] else scaled.T
    gram = rows @ rows.T
    error = gram_error(float(np.trace(gram)), sum(rows.shape))
    norm = np.sqrt(largest_eigenvalue(gram, error)) * (1.0 + 4.0 * UNIT_ROUNDOFF64)
    return float(np.ldexp(norm, exponent))


def convolution_norm(
    kernel: ArrayLike,
    image_shape: Sequence[int],
    strides: int | Sequence[int] = 1,
    padding: Padding = "same",
) -> float:
    """Upper bound of the L2 norm of a convolution on zero-padded images.

    A convolution with stride s is one with stride 1 if each block of s × s pixels is taken as one
    pixel with more channels. With zero padding it is a part of the circular convolution on the
    padded grid, so its norm is at most that one's. The norm of the circular convolution is the
    largest norm, over all frequencies, of the kernel's Fourier transform, a matrix (channels of a
    block) × filters. The bound is exact if windows do not overlap.

    Args:
        kernel: array ``(kernel height, kernel width, channels, filters)``.
        image_shape: ``(height, width)`` of the input.
        strides: one number or two, in pixels.
        padding: ``"same"`` or ``"valid"``.

    Returns:
        float.

    Examples:
        >>> import numpy as np
        >>> from zoo.ops import convolution_norm
        >>> average = np.full((3, 3, 1, 1), 1 / 9)
        >>> round(convolution_norm(average, (28, 28)), 6)
        1.0

    Reference:
        Sedghi, Gupta, Long: The Singular Values of Convolutional Layers, ICLR 2019, theorem 6.
    """
    kernel = _float64(kernel, 4)
    strides = (strides, strides) if isinstance(strides, int) else tuple(strides)
    size, channels, filters = kernel.shape[:2], kernel.shape[2], kernel.shape[3]
    # The sizes of the kernel and of the padded grid in blocks of s pixels.
    window = [math.ceil(k / s) for k, s in zip(size, strides, strict=True)]
    grid = [
        max(math.ceil(n / s), m)
        for n, s, m in zip(
            Windows(image_shape, size, strides, padding).covered, strides, window, strict=True
        )
    ]
    blocked = np.zeros((window[0] * strides[0], window[1] * strides[1], channels, filters))
    blocked[: size[0], : size[1]] = kernel
    blocked = blocked.reshape(window[0], strides[0], window[1], strides[1], channels, filters)
    blocked = blocked.transpose(0, 2, 1, 3, 4, 5).reshape(*window, -1, filters)
    # The kernel is real: conjugate frequencies have equal norms, so half of them are enough.
    half = np.fft.rfft(blocked, grid[1], axis=1)
    rows = max(1, _BLOCK // (grid[0] * half.shape[2] * filters))
    return (1.0 + SLACK) * max(
        float(
            np.linalg.norm(
                np.fft.fft(half[:, i : i + rows], grid[0], axis=0), 2, axis=(-2, -1)
            ).max()
        )
        for i in range(0, half.shape[1], rows)
    )


def average_pooling_norm(
    image_shape: Sequence[int],
    pool_size: Sequence[int],
    strides: Sequence[int],
    padding: Padding = "valid",
) -> float:
    """Upper bound of the L2 norm of average pooling that leaves out pixels outside of the image.

    The pooling averages along rows and then along columns, so its norm is the product of the two
    norms.

    Args:
        image_shape: ``(height, width)`` of the input.
        pool_size, strides: pairs of numbers.
        padding: ``"same"`` or ``"valid"``.

    Returns:
        float.

    Examples:
        >>> from zoo.ops import average_pooling_norm
        >>> round(average_pooling_norm((28, 28), (2, 2), (2, 2)), 6)
        0.5
    """
    norm = 1.0
    windows = Windows(image_shape, pool_size, strides, padding)
    along = zip(image_shape, pool_size, strides, windows.counts, windows.margins, strict=True)
    for length, size, stride, count, (before, _) in along:
        matrix = np.zeros((length, count))
        for output in range(count):
            first = output * stride - before
            window = slice(max(first, 0), min(first + size, length))
            matrix[window, output] = 1.0 / (window.stop - window.start)
        norm *= dense_norm(matrix)
    return norm


def _float64(kernel: ArrayLike, rank: int) -> Array:
    kernel = float64(kernel)
    if kernel.ndim != rank:
        raise ValueError(f"the kernel must have {rank} axes, got shape {kernel.shape}")
    if not np.isfinite(kernel).all():
        raise ValueError("the kernel has NaN or infinite entries, so it has no norm")
    return kernel
