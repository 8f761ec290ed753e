"""Backward linear relaxation (CROWN): bounds of linear functions of a network's outputs."""

import numpy as np
from keras import ops

from zoo.certificates.activation_lines import Piecewise
from zoo.certificates.interval import boxes_of
from zoo.certificates.operators import Activation, MaxPooling

# Numbers held at a time by one tensor of rows, and there are a few of them.
_BLOCK = 1 << 23


class Relaxations:
    """The lines of each operator over its input boxes, drawn when first asked for.

    Args:
        operators: prepared.
        boxes: of the places, see :func:`zoo.certificates.interval.boxes_of`; it may still grow.
    """

    def __init__(self, operators, boxes):
        self.operators, self.boxes, self.known = operators, boxes, {}

    def __getitem__(self, index):
        if index not in self.known:
            operator = self.operators[index]
            self.known[index] = operator.relax([self.boxes[i] for i in operator.inputs])
        return self.known[index]


def lower_bounds(operators, region, rows, relaxations, iterations=4):
    """Lower bounds of rows' products with a network's output, over a region.

    From the last operator to the first, each activation is replaced by the line below or above it
    that the sign of the row asks for; what remains is a linear function of the input.

    Args:
        operators: prepared, up to the output that the rows are of.
        region: :class:`zoo.certificates.region.Region`.
        rows: float64 tensor ``(batch, rows, *output_shape)``.
        relaxations: :class:`Relaxations`.
        iterations: as for :meth:`zoo.certificates.region.Region.minimum`.

    Returns:
        Tensor ``(batch, rows)``.

    Reference:
        Zhang, Weng, Chen, Hsieh, Daniel: Efficient Neural Network Robustness Certification with
        General Activation Functions, NeurIPS 2018, theorem 3.2.
    """
    waiting, total = {len(operators): rows}, 0.0
    for place in range(len(operators), 0, -1):
        rows = waiting.pop(place, None)
        if rows is None:
            continue
        operator = operators[place - 1]
        inputs, offset = operator.backward(rows, relaxations[place - 1])
        total = total + offset
        for i, part in zip(operator.inputs, inputs, strict=True):
            waiting[i] = waiting[i] + part if i in waiting else part
    return region.minimum(waiting[0], iterations) + total


def relaxed(operators, region):
    """Relaxations over boxes that are themselves bounded by linear relaxation.

    Args:
        operators: prepared.
        region: :class:`zoo.certificates.region.Region`.

    Returns:
        :class:`Relaxations`.
    """
    # Of a kink, the lines are exact on either side: only entries that may lie on both need more,
    # unless their boxes matter elsewhere.
    pooled = any(isinstance(o, MaxPooling) for o in operators)
    only_crossing = {
        o.inputs[0]: isinstance(o.kind, Piecewise) and not pooled
        for o in operators
        if isinstance(o, Activation)
    }
    largest = max(o.width for o in operators)

    relaxations = Relaxations(operators, [])

    def tighten(boxes, place):
        relaxations.boxes = boxes
        return _box_by_rows(operators[:place], region, relaxations, only_crossing[place], largest)

    relaxations.boxes = boxes_of(operators, region, tighten)
    return relaxations


def _box_by_rows(operators, region, relaxations, only_crossing, largest):
    """A box around the last place, entry by entry."""
    boxes = relaxations.boxes
    shape = boxes[-1][0].shape
    lower, upper = (ops.convert_to_numpy(end).reshape(shape[0], -1).copy() for end in boxes[-1])
    needed = (lower < 0) & (upper > 0) if only_crossing else np.ones(lower.shape, bool)
    entries = _numbered(needed)
    step = max(1, _BLOCK // (shape[0] * largest))
    for first in range(0, entries.shape[1], step):
        part = entries[:, first : first + step]
        rows = np.zeros((*part.shape, lower.shape[1]))
        np.put_along_axis(rows, part[..., None], 1.0, axis=2)
        rows = ops.reshape(ops.convert_to_tensor(rows, "float64"), (*part.shape, *shape[1:]))
        below = ops.convert_to_numpy(lower_bounds(operators, region, rows, relaxations, 1))
        above = -ops.convert_to_numpy(lower_bounds(operators, region, -rows, relaxations, 1))
        # Images that need fewer get some more; a radius must not depend on its neighbours.
        wanted = _at(needed, part)
        below = np.where(wanted, np.maximum(below, _at(lower, part)), _at(lower, part))
        above = np.where(wanted, np.minimum(above, _at(upper, part)), _at(upper, part))
        np.put_along_axis(lower, part, below, axis=1)
        np.put_along_axis(upper, part, above, axis=1)
    return tuple(ops.convert_to_tensor(end.reshape(shape), "float64") for end in (lower, upper))


def _numbered(needed):
    """Indices of the entries that are needed, as many for each image as any of them needs."""
    most = int(needed.sum(axis=1).max(initial=0))
    order = np.argsort(~needed, axis=1, kind="stable")
    return order[:, :most]


def _at(array, indices):
    return np.take_along_axis(array, indices, axis=1)
