"""Pooling by the L2 norm."""

import math

import keras
from keras import ops

from zoo.layers.nonexpansive_operation import NonexpansiveOperation
from zoo.ops.float32 import sum_rounding
from zoo.ops.singular_values import overlaps
from zoo.utils import checks
from zoo.utils.fixed_settings import FixedSettings

# Squares of pooled values are no smaller, so that the root has a gradient. The larger of a norm
# and a constant is as nonexpansive as the norm.
_SMALLEST = 1e-24


@keras.saving.register_keras_serializable(package="zoo")
class NormPooling2D(FixedSettings, NonexpansiveOperation):
    """The L2 norm of each channel over a window.

    Where windows overlap, a pixel is in up to ``K = ∏ ceil(pool size / stride)`` of them, and the
    inputs are divided by ``√K``: the layer is nonexpansive whatever its settings.

    Args:
        pool_size: height and width of the window, one number or two.
        strides: likewise; by default the window's size, so that windows do not overlap.
        padding: ``"valid"``, or ``"same"`` (zeros around the image).

    Call arguments:
        inputs: tensor of shape ``(batch, height, width, channels)``, float.

    Returns:
        Tensor of shape ``(batch, new height, new width, channels)``, as for every Keras pooling.

    Example:

    >>> import numpy as np, zoo
    >>> image = np.array([[3.0, 0.0], [0.0, 4.0]], "float32").reshape(1, 2, 2, 1)
    >>> float(zoo.layers.NormPooling2D(2)(image)[0, 0, 0, 0])
    5.0

    Reference:
        Qian, Wegman: L2-Nonexpansive Neural Networks, ICLR 2019, section 2.2.
    """

    fixed = ("pool_size", "strides", "padding", "repeats")

    def __init__(self, pool_size=2, strides=None, padding="valid", **kwargs):
        super().__init__(**kwargs)
        self.pool_size = checks.pair(pool_size, "pool_size")
        self.strides = self.pool_size if strides is None else checks.pair(strides, "strides")
        if padding not in ("valid", "same"):
            raise ValueError(f"padding must be 'valid' or 'same', got {padding!r}")
        self.padding = padding
        self.repeats = overlaps(self.pool_size, self.strides)
        # A layer rather than ops.average_pool, which does not survive saving on JAX.
        self._average = keras.layers.AveragePooling2D(
            self.pool_size, self.strides, data_format="channels_last"
        )

    def build(self, input_shape):
        self._outputs = math.prod(self.compute_output_shape(input_shape)[1:])

    def call(self, inputs):
        squares = ops.square(inputs)
        if self.padding == "same":
            # Zeros, as pixels: an average that leaves them out would be of fewer.
            squares = ops.pad(squares, self._margins(inputs.shape))
        sums = self._average(squares) * math.prod(self.pool_size)
        return ops.sqrt(ops.maximum(sums / self.repeats, _SMALLEST))

    def _margins(self, shape):
        margins = [(0, 0)]
        for n, k, s in zip(shape[1:3], self.pool_size, self.strides, strict=True):
            total = max((math.ceil(n / s) - 1) * s + k - n, 0)
            margins.append((total // 2, total - total // 2))
        return (*margins, (0, 0))

    def rounding(self, size, error):
        """As :meth:`zoo.layers.NonexpansiveDense.rounding`."""
        # Squares, their sum in any order, two factors and the root.
        terms = math.prod(self.pool_size) + 5
        # Below the smallest square nothing counts, squares too small for float32 included.
        size = size + math.sqrt(_SMALLEST * self._outputs)
        return size, error + sum_rounding(terms) * (size + error)

    def compute_output_shape(self, input_shape):
        inputs = keras.KerasTensor(input_shape)
        return ops.max_pool(
            inputs, self.pool_size, self.strides, self.padding, data_format="channels_last"
        ).shape

    def get_config(self):
        return {
            **super().get_config(),
            "pool_size": list(self.pool_size),
            "strides": list(self.strides),
            "padding": self.padding,
        }
