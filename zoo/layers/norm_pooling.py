"""Pooling by the L2 norm."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from zoo.layers.entries import entries_of
from zoo.layers.nonexpansive_operation import NonexpansiveOperation
from zoo.ops.float32 import sum_rounding
from zoo.ops.windows import Windows, overlaps
from zoo.typing import BatchShape, Numbers, Padding, Tensor
from zoo.utils import checks
from zoo.utils.fixed_settings import FixedSettings

# Lower limit of a window's sum of squares, so that the gradient of its root is finite. The maximum
# of a norm and a constant is nonexpansive, because the norm is.
_SMALLEST = 1e-24


@keras.saving.register_keras_serializable(package="zoo")
class NormPooling2D(FixedSettings, NonexpansiveOperation):
    """The L2 norm of each channel over a window.

    If windows overlap, a pixel is in up to ``K = ∏ ceil(pool size / stride)`` of them. The inputs
    are divided by ``√K``, so that the layer is nonexpansive with all settings.

    Args:
        pool_size: height and width of the window in pixels, one number or two.
        strides: vertical and horizontal stride in pixels, one number or two; by default the
            window's size, so that windows do not overlap.
        padding: ``"valid"``, or ``"same"`` (zeros around the image).

    Call arguments:
        inputs: tensor of shape ``(batch, height, width, channels)``, float.

    Returns:
        Tensor of shape ``(batch, new height, new width, channels)``, as with Keras's poolings.

    Raises:
        ValueError: if an argument is unknown or out of range.

    Examples:
        >>> import numpy as np, zoo
        >>> image = np.array([[3.0, 0.0], [0.0, 4.0]], "float32").reshape(1, 2, 2, 1)
        >>> float(zoo.layers.NormPooling2D(2)(image)[0, 0, 0, 0])
        5.0

    Reference:
        Qian, Wegman: L2-Nonexpansive Neural Networks, ICLR 2019, section 2.2.
    """

    fixed = ("pool_size", "strides", "padding", "repeats")

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        strides: int | Sequence[int] | None = None,
        padding: Padding = "valid",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = checks.pair(pool_size, "pool_size")
        self.strides = self.pool_size if strides is None else checks.pair(strides, "strides")
        self.padding: Padding = checks.one_of(("valid", "same"))(padding, "padding")
        self.repeats = overlaps(self.pool_size, self.strides)
        # Of types with fewer bits, the sums of squares would underflow, and gradients be NaN.
        self._wide = keras.backend.result_type(self.compute_dtype, "float32")
        # This is a layer because ops.average_pool does not survive saving on JAX.
        self._average = keras.layers.AveragePooling2D(
            self.pool_size, self.strides, data_format="channels_last", dtype=self._wide
        )

    def build(self, input_shape: BatchShape) -> None:
        if self.padding == "same" and None in input_shape[1:3]:
            raise ValueError(
                f"with padding='same', the size of the images must be known, got {input_shape}"
            )
        self._shape = tuple(self.compute_output_shape(input_shape)[1:])

    def call(self, inputs: Tensor) -> Tensor:
        squares = ops.square(ops.cast(inputs, self._wide))
        if self.padding == "same":
            # Zeros are padded here, because Keras's "same" pooling would average over the pixels of
            # the image only, so that multiplying by the window's size would not give the sum.
            image = inputs.shape[1:3]
            margins = Windows(image, self.pool_size, self.strides, self.padding).margins
            squares = ops.pad(squares, ((0, 0), *margins, (0, 0)))
        sums = self._average(squares) * math.prod(self.pool_size)
        norms = ops.sqrt(ops.maximum(sums / self.repeats, _SMALLEST))
        return ops.cast(norms, self.compute_dtype)

    def rounding(self, size: Numbers, error: Numbers) -> tuple[Numbers, Numbers]:
        """As :meth:`zoo.layers.NonexpansiveDense.rounding`."""
        # The roundings of the squares, of their sum in any order, of two factors and of the root.
        terms = math.prod(self.pool_size) + 5
        # Each output is at least √_SMALLEST, which adds at most this to the norm. Squares that
        # float32 flushes to zero are negligible beside _SMALLEST.
        size = size + math.sqrt(_SMALLEST * entries_of(self, self._shape))
        return size, error + sum_rounding(terms) * (size + error)

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        inputs = keras.KerasTensor(input_shape)
        return ops.max_pool(
            inputs, self.pool_size, self.strides, self.padding, data_format="channels_last"
        ).shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pool_size": list(self.pool_size),
            "strides": list(self.strides),
            "padding": self.padding,
        }
