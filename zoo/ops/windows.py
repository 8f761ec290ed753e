"""Windows of pixels: how many there are, what they cover and how they overlap."""

import math
from collections.abc import Sequence

from keras import ops

from zoo.typing import Padding, Tensor
from zoo.utils import checks


class Windows:
    """The windows of a convolution or a pooling.

    Args:
        image_shape: ``(height, width)``.
        size, strides: pairs of numbers.
        padding: ``"same"`` or ``"valid"``.

    Attributes:
        counts: number of windows along each axis.
        margins: for each axis, the numbers of padded pixels before and after the image. If their
            sum is odd, there is one more after it.

    Raises:
        ValueError: for another padding.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        size: Sequence[int],
        strides: Sequence[int],
        padding: Padding,
    ) -> None:
        checks.one_of(("valid", "same"))(padding, "padding")
        self.image_shape, self.size, self.strides = image_shape, tuple(size), tuple(strides)
        self.padding: Padding = padding
        self.counts: list[int] = []
        self.margins: list[tuple[int, int]] = []
        for n, k, s in zip(image_shape, size, strides, strict=True):
            count = math.ceil(n / s) if padding == "same" else (n - k) // s + 1
            missing = max((count - 1) * s + k - n, 0) if padding == "same" else 0
            self.counts.append(count)
            self.margins.append((missing // 2, missing - missing // 2))

    @property
    def covered(self) -> list[int]:
        """Pixels along each axis, padded ones included."""
        return [n + sum(margin) for n, margin in zip(self.image_shape, self.margins, strict=True)]

    def entries(self, tensor: Tensor, outside: float = 0.0) -> Tensor:
        """The entries of each window: ``(batch, rows, columns, channels, entries)``.

        Args:
            tensor: ``(batch, height, width, channels)``.
            outside: the value of padded pixels.
        """
        padded = ops.pad(tensor, [(0, 0), *self.margins, (0, 0)], constant_values=outside)
        slices = [
            [slice(i, i + (n - 1) * s + 1, s) for i in range(k)]
            for n, k, s in zip(self.counts, self.size, self.strides, strict=True)
        ]
        return ops.stack([padded[:, i, j] for i in slices[0] for j in slices[1]], axis=-1)


def overlaps(size: Sequence[int], strides: Sequence[int]) -> int:
    """The largest number of windows that a pixel lies in: ``∏ ceil(size / stride)``."""
    return math.prod(math.ceil(k / s) for k, s in zip(size, strides, strict=True))
