"""Average and max pooling."""

import math

import keras
from keras import ops

from zoo.bounds.rules.rule import (
    AffineRule,
    Rule,
    products,
    register_rule,
    through_transposed,
)


@register_rule(keras.layers.AveragePooling2D, keras.layers.GlobalAveragePooling2D)
class AveragePoolingRule(AffineRule):
    def prepare(self):
        self.roundings = math.prod(getattr(self.layer, "pool_size", self.input_shape[:2])) + 3


@register_rule(keras.layers.MaxPooling2D, keras.layers.GlobalMaxPooling2D)
class MaxPoolingRule(Rule):
    """The largest entry of each window."""

    compares_entries = True

    def check(self):
        layer = self.layer
        everything = isinstance(layer, keras.layers.GlobalMaxPooling2D)
        self.size = self.input_shape[:2] if everything else layer.pool_size
        self.strides = self.size if everything else layer.strides
        self.padding = [(0, 0), (0, 0)]
        self.counts = [(n - k) // s + 1 for n, k, s in self._along()]
        if not everything and layer.padding == "same":
            self.counts = [math.ceil(n / s) for n, _, s in self._along()]
            for axis, (n, k, s) in enumerate(self._along()):
                missing = max((self.counts[axis] - 1) * s + k - n, 0)
                self.padding[axis] = (missing // 2, missing - missing // 2)

    @property
    def width(self):
        return math.prod(self.counts) * math.prod(self.size) * self.input_shape[-1]

    def _along(self):
        return zip(self.input_shape[:2], self.size, self.strides, strict=True)

    def interval(self, boxes):
        lower, upper = boxes[0]
        return self.layer.call(lower), self.layer.call(upper)

    def relax(self, boxes):
        """The line below is the entry with the largest lower bound. The line above is the same
        entry where no other one can be larger, and the largest upper bound elsewhere."""
        lower, upper = (self._windows(end, outside=-1e300) for end in boxes[0])
        chosen = ops.one_hot(ops.argmax(lower, axis=-1), lower.shape[-1], dtype="float64")
        others = ops.max(ops.where(chosen > 0, -1e300, upper), axis=-1)
        alone = ops.cast(others <= ops.max(lower, axis=-1), "float64")
        return chosen, alone, ops.max(upper, axis=-1)

    def backward(self, rows, relaxed):
        chosen, alone, largest = relaxed
        rows = ops.reshape(rows, (*rows.shape[:2], *alone.shape[1:]))
        positive, negative = ops.maximum(rows, 0.0), ops.minimum(rows, 0.0)
        offset = products(negative, (1.0 - alone) * largest)
        rows = (positive + negative * alone[:, None])[..., None] * chosen[:, None]
        return [through_transposed(self._windows, rows, self.input_shape)], offset

    def _windows(self, tensor, outside=0.0):
        """Entries by window: ``(batch, rows, columns, channels, entries)``."""
        padded = ops.pad(tensor, [(0, 0), *self.padding, (0, 0)], constant_values=outside)
        slices = [
            [slice(i, i + (n - 1) * s + 1, s) for i in range(k)]
            for n, k, s in zip(self.counts, self.size, self.strides, strict=True)
        ]
        return ops.stack([padded[:, i, j] for i in slices[0] for j in slices[1]], axis=-1)
