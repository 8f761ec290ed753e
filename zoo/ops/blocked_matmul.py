"""A matrix product whose rounding errors hardly grow with its size."""

import math

from keras import ops

from zoo.ops.pairwise_sum import pairwise_sum
from zoo.typing import Tensor

# Largest number of products that are summed in one block.
_BLOCK = 32


def blocks_of(inputs: int) -> tuple[int, int]:
    """The number of blocks that a sum of products is divided into.

    Args:
        inputs: number of products in the sum.

    Returns:
        ``(blocks, roundings)``: the number of blocks, a power of two, and the largest number of
        roundings that a product goes through.
    """
    blocks = 2 ** max(0, math.ceil(math.log2(inputs / _BLOCK)))
    return blocks, math.ceil(inputs / blocks) + int(math.log2(blocks))


def blocked_matmul(inputs: Tensor, kernel: Tensor) -> Tensor:
    """``inputs @ kernel``, where each sum is divided into blocks whose sums are added in pairs.

    In a float32 sum of n products in unknown order, a product may go through ``n`` roundings. For
    wide layers this error bound is too large for a useful proof. Here it goes through at most
    ``n / blocks + log₂ blocks`` roundings (the quotient rounded up).

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
    return pairwise_sum(lambda block: ops.matmul(inputs[block], kernel[block]), blocks)


def blocked_inputs(inputs: Tensor) -> Tensor:
    """Reshape ``(…, inputs)`` to ``(…, blocks, inputs per block)``, padded with zeros."""
    size = inputs.shape[-1]
    blocks, _ = blocks_of(size)
    block = math.ceil(size / blocks)
    margins = [(0, 0)] * (len(inputs.shape) - 1) + [(0, blocks * block - size)]
    return ops.reshape(ops.pad(inputs, margins), (-1, *inputs.shape[1:-1], blocks, block))


def blocked_kernel(kernel: Tensor) -> Tensor:
    """Reshape ``(inputs, units)`` to ``(blocks, inputs per block, units)``, padded with zeros."""
    size, units = kernel.shape
    blocks, _ = blocks_of(size)
    block = math.ceil(size / blocks)
    return ops.reshape(
        ops.pad(kernel, ((0, blocks * block - size), (0, 0))), (blocks, block, units)
    )


def sum_of_halves(parts: Tensor) -> Tensor:
    """The sum over the last axis but one, by repeatedly adding one half to the other.

    The length of this axis must be a power of two.
    """
    while parts.shape[-2] > 1:
        half = parts.shape[-2] // 2
        parts = parts[..., :half, :] + parts[..., half:, :]
    return parts[..., 0, :]
