"""Rows that are zero outside of a window of the image, kept as windows."""

import dataclasses
from typing import Any

import numpy as np
from keras import ops

from zoo.typing import Array, Shape, Tensor


@dataclasses.dataclass(frozen=True)
class WindowRows:
    """Coefficients of linear functions that depend on a window of an image alone.

    A neuron of a convolution depends on a window of each layer below it. Its row then takes as many
    numbers as the window has entries, instead of as many as the image has.

    Attributes:
        values: float64 tensor ``(batch, rows, height, width, channels)``, the coefficients in each
            row's window. They are zero where the window is outside of the image.
        top, left: int arrays ``(batch, rows)``, the places of the windows' first pixels in the
            image. A window may begin before the image and end after it.
        image_shape: ``(height, width, channels)`` of the image.
    """

    values: Tensor
    top: Array
    left: Array
    image_shape: Shape

    def of(self, tensor: Tensor) -> Tensor:
        """The windows of a tensor, with zeros outside of the image.

        Args:
            tensor: ``(batch or 1, height, width, channels)``; the channels need not be the image's.

        Returns:
            Tensor ``(batch, rows, window height, window width, channels)``.
        """
        height, width = self.image_shape[:2]
        y = self.top[..., None] + np.arange(self.values.shape[2])
        x = self.left[..., None] + np.arange(self.values.shape[3])
        inside = ((y >= 0) & (y < height))[..., None] & ((x >= 0) & (x < width))[..., None, :]
        pixels = y[..., None] * width + x[..., None, :]
        return _pixels(ops.reshape(tensor, (tensor.shape[0], -1, tensor.shape[-1])), pixels, inside)

    def cut(self) -> "WindowRows":
        """The same rows, with zeros where a window is outside of the image."""
        height, width = self.image_shape[:2]
        ends = self.top + self.values.shape[2], self.left + self.values.shape[3]
        starts = min(self.top.min(initial=0), self.left.min(initial=0))
        if starts >= 0 and (ends[0] <= height).all() and (ends[1] <= width).all():
            return self
        inside = self.of(ops.ones((1, height, width, 1), self.values.dtype))
        return dataclasses.replace(self, values=self.values * inside)

    def full(self) -> Tensor:
        """The rows as a tensor ``(batch, rows, height, width, channels)``."""
        height, width, channels = self.image_shape
        batch, rows, window_height, window_width = self.values.shape[:4]
        y = np.arange(height) - self.top[..., None]
        x = np.arange(width) - self.left[..., None]
        inside = (
            ((y >= 0) & (y < window_height))[..., None]
            & ((x >= 0) & (x < window_width))[..., None, :]
        )  # fmt: skip
        pixels = y[..., None] * window_width + x[..., None, :]
        values = ops.reshape(self.values, (batch * rows, window_height * window_width, channels))
        pixels, inside = (part.reshape(batch * rows, 1, height, width) for part in (pixels, inside))
        return ops.reshape(_pixels(values, pixels, inside), (batch, rows, *self.image_shape))

    def is_like(self, other: Any) -> bool:
        """Whether other rows have the same windows."""
        return (
            isinstance(other, WindowRows)
            and other.values.shape == self.values.shape
            and np.array_equal(other.top, self.top)
            and np.array_equal(other.left, self.left)
        )


def _pixels(images: Tensor, pixels: Array, inside: Array) -> Tensor:
    """Pixels of images ``(batch or 1, pixels, channels)`` at indices ``(batch, ...)``, or zeros."""
    count, channels = images.shape[1:]
    images = ops.pad(images, [(0, 0), (0, 1), (0, 0)])
    pixels = np.where(inside, pixels, count)
    if images.shape[0] > 1:
        first = np.arange(images.shape[0]).reshape(-1, *[1] * (pixels.ndim - 1))
        pixels = pixels + first * (count + 1)
    flat = ops.reshape(images, (-1, channels))
    return ops.take(flat, ops.convert_to_tensor(pixels, "int32"), axis=0)
