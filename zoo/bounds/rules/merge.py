"""Layers with several inputs."""

import keras
import numpy as np
from keras import ops

from zoo.bounds.rules.rule import AffineRule, Rule, products, refuse, register_rule, sizes


class _WeightedSumRule(AffineRule):
    """``Σ weight · input``, entry by entry."""

    limits = "of equal shapes"

    def weights(self):
        """One number for each input."""
        raise NotImplementedError

    def prepare(self):
        self.roundings = len(self.inputs) + 2

    def interval(self, boxes):
        error = self.rounding(boxes)
        lower, upper = 0.0, 0.0
        for weight, box in zip(self.weights(), boxes, strict=True):
            least, most = box if weight > 0 else box[::-1]
            lower, upper = lower + weight * least, upper + weight * most
        return lower - error, upper + error

    def rounding(self, boxes):
        pairs = zip(self.weights(), boxes, strict=True)
        return self.error(boxes, sum(abs(weight) * sizes(box) for weight, box in pairs))

    def backward(self, rows, relaxed):
        inputs = [rows if weight == 1.0 else weight * rows for weight in self.weights()]
        return inputs, -products(ops.abs(rows), relaxed)


@register_rule(keras.layers.Add)
class AddRule(_WeightedSumRule):
    def weights(self):
        return [1.0] * len(self.inputs)

    def prepare(self):
        self.roundings = len(self.inputs)


@register_rule(keras.layers.Subtract)
class SubtractRule(_WeightedSumRule):
    def weights(self):
        return [1.0, -1.0]


@register_rule(keras.layers.Average)
class AverageRule(_WeightedSumRule):
    def weights(self):
        return [1.0 / len(self.inputs)] * len(self.inputs)


@register_rule(keras.layers.Concatenate)
class ConcatenateRule(Rule):
    """Nothing is computed, so nothing is rounded."""

    def check(self):
        if self.layer.axis == 0:
            refuse(self.layer, "joins batches")

    def interval(self, boxes):
        self.counts = [box[0].shape[self.layer.axis] for box in boxes]
        return tuple(self.layer.call([box[end] for box in boxes]) for end in (0, 1))

    def backward(self, rows, relaxed):
        # Rows have one axis more than the tensors.
        axis = self.layer.axis + (1 if self.layer.axis > 0 else 0)
        ends = np.cumsum(self.counts)[:-1].tolist()
        return ops.split(rows, ends, axis=axis), 0.0
