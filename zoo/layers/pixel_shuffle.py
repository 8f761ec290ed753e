"""Layers that exchange pixels for channels, and channels for pixels."""

from typing import Any

import keras
from keras import ops

from zoo.layers.nonexpansive_operation import NonexpansiveOperation
from zoo.typing import BatchShape, Tensor
from zoo.utils import checks
from zoo.utils.fixed_settings import FixedSettings


class _BlocksOfPixels(FixedSettings, NonexpansiveOperation):
    """Base of the two layers: the size of the blocks, and the check of the input's shape."""

    fixed = ("block_size",)

    def __init__(self, block_size: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block_size = checks.positive_integer(block_size, "block_size")

    def build(self, input_shape: BatchShape) -> None:
        if len(input_shape) != 4 or None in input_shape[1:]:
            raise ValueError(
                "inputs must have shape (batch, height, width, channels), all but the batch known, "
                f"got {tuple(input_shape)}"
            )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block_size": self.block_size}


@keras.saving.register_keras_serializable(package="zoo")
class PixelUnshuffle(_BlocksOfPixels):
    """Makes one pixel of each block of pixels, with the channels of all of them.

    It is also called space-to-depth. The channels of the result are ordered by row within the
    block, then by column, then by the channel of the input. If a side of the image is no multiple
    of the block's, zeros are added below the image or to the right of it. The layer only moves
    entries, so it preserves every L2 distance.

    Args:
        block_size: height and width of a block in pixels.

    Call arguments:
        inputs: tensor of shape ``(batch, height, width, channels)``; all but the batch must be
            known.

    Returns:
        Tensor of shape ``(batch, height / block_size, width / block_size,
        block_size² · channels)``, with the quotients rounded up.

    Raises:
        ValueError: if ``block_size`` is no positive integer; when the layer is built, if a
            dimension of the image is not known.

    Examples:
        >>> import numpy as np, zoo
        >>> image = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
        >>> np.asarray(zoo.layers.PixelUnshuffle(2)(image)).tolist()
        [[[[1.0, 2.0, 3.0, 4.0]]]]

    Reference:
        Shi et al.: Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
        Convolutional Neural Network, CVPR 2016 (the inverse, which is called PixelShuffle).
    """

    def call(self, inputs: Tensor) -> Tensor:
        size = self.block_size
        margins = [(0, -side % size) for side in inputs.shape[1:3]]
        if margins != [(0, 0), (0, 0)]:
            inputs = ops.pad(inputs, ((0, 0), *margins, (0, 0)))
        _, height, width, channels = inputs.shape
        rows, columns = height // size, width // size
        # The pixels of a block's row are neighbours already, so only the rows are moved.
        blocks = ops.reshape(inputs, (-1, size, columns, size * channels))
        blocks = ops.transpose(blocks, (0, 2, 1, 3))
        return ops.reshape(blocks, (-1, rows, columns, size * size * channels))

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        batch, height, width, channels = input_shape
        size = self.block_size
        return batch, -(-height // size), -(-width // size), size * size * channels


@keras.saving.register_keras_serializable(package="zoo")
class PixelShuffle(_BlocksOfPixels):
    """Makes a block of pixels of each pixel: the inverse of :class:`zoo.layers.PixelUnshuffle`.

    It is also called depth-to-space. The layer only moves entries, so it preserves every L2
    distance.

    Args:
        block_size: height and width of a block in pixels.

    Call arguments:
        inputs: tensor of shape ``(batch, height, width, channels)``, where the number of channels
            is a multiple of ``block_size²``; all but the batch must be known.

    Returns:
        Tensor of shape ``(batch, height · block_size, width · block_size,
        channels / block_size²)``.

    Raises:
        ValueError: if ``block_size`` is no positive integer; when the layer is built, if a
            dimension of the image is not known or the channels do not fill the blocks.

    Examples:
        >>> import numpy as np, zoo
        >>> image = np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 1, 4)
        >>> np.asarray(zoo.layers.PixelShuffle(2)(image)[0, :, :, 0]).tolist()
        [[1.0, 2.0], [3.0, 4.0]]

    Reference:
        Shi et al., CVPR 2016.
    """

    def build(self, input_shape: BatchShape) -> None:
        super().build(input_shape)
        if input_shape[-1] % self.block_size**2:
            raise ValueError(
                f"the number of channels must be a multiple of {self.block_size**2}, the pixels of "
                f"a block, got shape {tuple(input_shape)}"
            )

    def call(self, inputs: Tensor) -> Tensor:
        size = self.block_size
        _, rows, columns, channels = inputs.shape
        channels //= size * size
        blocks = ops.reshape(inputs, (-1, columns, size, size * channels))
        blocks = ops.transpose(blocks, (0, 2, 1, 3))
        return ops.reshape(blocks, (-1, rows * size, columns * size, channels))

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        batch, rows, columns, channels = input_shape
        size = self.block_size
        return batch, rows * size, columns * size, channels // (size * size)
