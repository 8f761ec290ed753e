"""A convolution whose rounding errors grow little with its number of channels."""

import math
from collections.abc import Sequence

from keras import ops

from zoo.ops.pairwise_sum import pairwise_sum
from zoo.typing import Padding, Tensor

# Largest number of products that are summed in one block. A smaller number gives smaller error
# bounds, but convolutions of few channels are slow: blocks of 40 products take about three times as
# long as these.
_BLOCK = 160


def channel_blocks(window: int, channels: int) -> tuple[int, int]:
    """The number of groups of channels that the sums of a convolution are divided into.

    Args:
        window: number of pixels of the kernel's window.
        channels: number of channels of the input.

    Returns:
        ``(blocks, roundings)``: the number of blocks, a power of two, and the largest number of
        roundings that a product goes through.
    """
    most = int(math.log2(channels))  # no block is empty
    halvings = min(most, max(0, math.ceil(math.log2(window * channels / _BLOCK))))
    blocks = 2**halvings
    return blocks, window * math.ceil(channels / blocks) + halvings


def blocked_conv(
    inputs: Tensor, kernel: Tensor, strides: int | Sequence[int], padding: Padding
) -> Tensor:
    """A convolution whose sums are divided into groups of channels, which are added in pairs.

    See :func:`zoo.ops.blocked_matmul`, which does the same for a matrix product.

    Args:
        inputs: tensor ``(batch, height, width, channels)``.
        kernel: tensor ``(kernel height, kernel width, channels, filters)``.
        strides: one number, or one for each axis.
        padding: ``"valid"`` or ``"same"``.

    Returns:
        Tensor ``(batch, new height, new width, filters)``.
    """
    height, width, channels, _ = kernel.shape
    blocks, _ = channel_blocks(height * width, channels)
    cuts = [channels * index // blocks for index in range(blocks + 1)]

    def of_block(block: int) -> Tensor:
        part = slice(cuts[block], cuts[block + 1])
        return ops.conv(
            inputs[..., part], kernel[:, :, part], strides, padding, data_format="channels_last"
        )

    return pairwise_sum(of_block, blocks)
