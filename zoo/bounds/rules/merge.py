"""Layers with several inputs."""

import keras
from keras import ops

from zoo.bounds.rules.rule import AffineRule, products, register_rule, sizes


@register_rule(keras.layers.Add)
class AddRule(AffineRule):
    limits = "of equal shapes"

    def prepare(self):
        self.roundings = len(self.inputs)

    def interval(self, boxes):
        error = self.rounding(boxes)
        lower, upper = (sum(box[end] for box in boxes) for end in (0, 1))
        return lower - error, upper + error

    def rounding(self, boxes):
        return self.error(boxes, sum(sizes(box) for box in boxes))

    def backward(self, rows, relaxed):
        return [rows] * len(self.inputs), -products(ops.abs(rows), relaxed)
