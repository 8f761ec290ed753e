"""A factor and an offset for each entry, or each channel: batch normalisation and rescaling."""

import keras
import numpy as np
from keras import ops

from zoo.bounds import batch_normalization
from zoo.bounds.rules.rule import AffineRule, refuse, register_rule, sizes
from zoo.ops.precision import LARGEST


class ScalingRule(AffineRule):
    def linear(self, tensor):
        return tensor * self.factor

    def absolute(self, tensor):
        return tensor * ops.abs(self.factor)

    def transposed(self, rows):
        return rows * self.factor

    def _set(self, factor, offset, roundings):
        self.factor = ops.convert_to_tensor(factor, "float64")
        self.offset = ops.convert_to_tensor(offset, "float64")
        self.roundings = roundings
        self.largest = float(np.abs(factor).max())


@register_rule(keras.layers.BatchNormalization)
class BatchNormalizationRule(ScalingRule):
    limits = "over the channels"

    def check(self):
        if self.layer.axis not in (-1, len(self.input_shape)):
            refuse(self.layer, f"normalises axis {self.layer.axis}, not the channels")

    def prepare(self):
        constants = batch_normalization.normalization_of(self.layer)
        self.size, self.flushed, self.mean = constants.size, constants.flushed, constants.mean
        self._set(constants.factor, constants.shift, batch_normalization.ROUNDINGS)

    def rounding(self, boxes):
        # Mean and offset may cancel each other, so their sizes are added.
        size = sizes(boxes[0])
        error = self.error(boxes, self.absolute(size) + self.size)
        return error + self.flushed * (size + self.mean)


@register_rule(keras.layers.Rescaling)
class RescalingRule(ScalingRule):
    limits = "by one number"

    def check(self):
        if np.ndim(self.layer.scale) or np.ndim(self.layer.offset):
            refuse(self.layer, "has a scale or an offset for each channel")
        if not max(abs(self.layer.scale), abs(self.layer.offset)) < LARGEST:
            refuse(self.layer, "has a scale or an offset that float32 cannot hold")

    def prepare(self):
        scale, offset = np.float64(self.layer.scale), np.float64(self.layer.offset)
        self.isometry = abs(float(scale))
        self._set(scale, offset, 4)
