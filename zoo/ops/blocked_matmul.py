"""A matrix product whose rounding errors hardly grow with its size."""

import math

from keras import ops

# Products that are summed one after the other.
_BLOCK = 32


def blocks_of(inputs):
    """Into how many blocks a sum of so many products is cut: a power of two.

    Args:
        inputs: their number.

    Returns:
        ``(blocks, roundings)``: the number of blocks, and of the roundings that a product goes
        through at most.
    """
    blocks = 2 ** max(0, math.ceil(math.log2(inputs / _BLOCK)))
    return blocks, math.ceil(inputs / blocks) + int(math.log2(blocks))


def blocked_matmul(inputs, kernel):
    """``inputs @ kernel``, each sum cut into blocks, and these added in pairs.

    A float32 sum of n products may be off by ``n`` roundings, whatever its order: too much for a
    proof about wide layers. This one is off by ``n / blocks + log₂ blocks``.

    Args:
        inputs: tensor ``(…, inputs)``.
        kernel: tensor ``(inputs, units)``.

    Returns:
        Tensor ``(…, units)``.

    Reference:
        Higham: Accuracy and Stability of Numerical Algorithms, 2002, section 4.2 (pairwise and
        blocked summation).
    """
    size = kernel.shape[0]
    blocks, _ = blocks_of(size)
    if blocks == 1:
        return ops.matmul(inputs, kernel)
    cuts = [size * index // blocks for index in range(1, blocks)]
    inputs, kernel = ops.split(inputs, cuts, axis=-1), ops.split(kernel, cuts, axis=0)

    # Depth first: few sums are alive at a time, and they stay in a processor's cache.
    def total(first, last):
        if last - first == 1:
            return ops.matmul(inputs[first], kernel[first])
        middle = (first + last) // 2
        return total(first, middle) + total(middle, last)

    return total(0, blocks)


def blocked_inputs(inputs):
    """``(…, inputs)`` as ``(…, blocks, inputs per block)``, with zeros at the end."""
    size = inputs.shape[-1]
    blocks, _ = blocks_of(size)
    block = math.ceil(size / blocks)
    margins = [(0, 0)] * (len(inputs.shape) - 1) + [(0, blocks * block - size)]
    return ops.reshape(ops.pad(inputs, margins), (-1, *inputs.shape[1:-1], blocks, block))


def blocked_kernel(kernel):
    """``(inputs, units)`` as ``(blocks, inputs per block, units)``, with zeros at the end."""
    size, units = kernel.shape
    blocks, _ = blocks_of(size)
    block = math.ceil(size / blocks)
    return ops.reshape(
        ops.pad(kernel, ((0, blocks * block - size), (0, 0))), (blocks, block, units)
    )


def sum_of_halves(parts):
    """The sum over the last axis but one, a power of two, by adding one half to the other."""
    while parts.shape[-2] > 1:
        half = parts.shape[-2] // 2
        parts = parts[..., :half, :] + parts[..., half:, :]
    return parts[..., 0, :]
