"""Backward linear relaxation (CROWN): bounds of linear functions of a network's outputs."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from zoo.bounds.interval import boxes_of
from zoo.bounds.perturbation import PerturbationSet
from zoo.bounds.rules.affine import AffineRule
from zoo.bounds.rules.rows import products, rounded_up, sizes
from zoo.bounds.rules.rule import Rule
from zoo.bounds.rules.scaling import ScalingRule
from zoo.bounds.window_rows import WindowRows
from zoo.typing import Array, Box, Tensor
from zoo.utils.float64 import LINE_SLACK

# Largest number of entries in one tensor of rows, which limits the memory that a pass takes. A few
# such tensors exist at the same time.
_BLOCK = 1 << 23


class Relaxations:
    """The linear relaxation of each rule over its input boxes, computed on first use.

    Args:
        rules: list of :class:`zoo.bounds.Rule` whose weights were read by ``prepare()``.
        boxes: list of the boxes of all places, as :func:`zoo.bounds.interval.boxes_of` returns it.
            The list may still grow while relaxations are computed.
    """

    def __init__(self, rules: Sequence[Rule], boxes: list[Box]) -> None:
        self.rules, self.boxes, self.known = rules, boxes, {}
        self._apart: list[Tensor] = []

    def __getitem__(self, index: int) -> Any:
        if index not in self.known:
            rule = self.rules[index]
            self.known[index] = rule.relax([self.boxes[i] for i in rule.inputs])
        return self.known[index]

    def apart(self, place: int) -> Tensor:
        """How far two computations of a place may be apart: ``(batch, *shape)``, see the rules."""
        if not self._apart:  # the network's input is not computed
            self._apart.append(ops.zeros_like(self.boxes[0][0]))
        while len(self._apart) <= place:
            box = self.boxes[len(self._apart)]
            rule = self.rules[len(self._apart) - 1]
            inputs = [self._apart[i] for i in rule.inputs]
            apart = rule.apart(inputs, [self.boxes[i] for i in rule.inputs], box)
            self._apart.append(ops.broadcast_to(apart, box[0].shape))
        return self._apart[place]


def lower_bounds(
    rules: Sequence[Rule],
    perturbed: PerturbationSet,
    rows: Tensor,
    relaxations: Relaxations,
) -> Tensor:
    """Lower bounds of linear functions of a network's output, over the perturbed inputs.

    The pass goes from the last rule to the first. It replaces each activation by a line below it
    if the row's coefficient is positive, and by a line above it if the coefficient is negative.
    What remains is a linear function of the input, whose minimum over the perturbation set is
    bounded directly.

    Args:
        rules: list of prepared rules. The output of the last one is the output of the network.
        perturbed: :class:`zoo.bounds.perturbation.PerturbationSet`.
        rows: float64 tensor ``(batch, rows, *output_shape)``. Each row holds the coefficients of
            one linear function of the output (a linear specification).
        relaxations: :class:`Relaxations`.

    Returns:
        Tensor ``(batch, rows)``.

    Reference:
        Zhang, Weng, Chen, Hsieh, Daniel: Efficient Neural Network Robustness Certification with
        General Activation Functions, NeurIPS 2018, theorem 3.2.
    """
    at_input, offset = _back_to_input(rules, {len(rules): rows}, relaxations)
    return perturbed.minimum(at_input) + offset


def _back_to_input(
    rules: Sequence[Rule], waiting: dict[int, Any], relaxations: Relaxations
) -> tuple[Any, Tensor]:
    """Rows at places of the network, as rows at its input and an offset.

    Args:
        rules: as for :func:`lower_bounds`.
        waiting: the rows by place. It is emptied.
        relaxations: as for :func:`lower_bounds`.
    """
    total = 0.0
    for place in range(max(waiting), 0, -1):
        rows = waiting.pop(place, None)
        if rows is None:
            continue
        rule = rules[place - 1]
        if isinstance(rows, WindowRows) and not rule.takes_windows:
            rows = rows.full()
        inputs, offset = rule.backward(rows, relaxations[place - 1])
        total = total + offset + add_rows(waiting, rule, inputs, relaxations)
    return waiting[0], total


def add_rows(
    waiting: dict[int, Any], rule: Rule, parts: Sequence[Any], relaxations: Relaxations
) -> Tensor | float:
    """Add a rule's rows to the rows of other rules with the same inputs.

    A compiler may compute a tensor h once for each rule that uses it, and round differently. For
    the rows r and s of two uses, ``r · h + s · h'`` is then at least ``(r + s) · h - |s| · apart``,
    and at least ``(r + s) · h' - |r| · apart``, if no entry of h and h' differs by more than
    ``apart``.

    Args:
        waiting: the rows by place, which receive those of the rule.
        rule: a rule.
        parts: rows for each input of the rule.
        relaxations: as for :func:`lower_bounds`.

    Returns:
        What is added to the rows' lower bounds: 0 or a negative tensor ``(batch, rows)``.
    """
    total = 0.0
    for place, rows in zip(rule.inputs, parts, strict=True):
        if place in waiting and place:
            apart = relaxations.apart(place)
            costs = [products(_absolute(part), apart) for part in (waiting[place], rows)]
            total = total - ops.minimum(*costs)
        waiting[place] = _sum(waiting[place], rows) if place in waiting else rows
    return total


def _absolute(rows: Any) -> Any:
    if isinstance(rows, WindowRows):
        return dataclasses.replace(rows, values=ops.abs(rows.values))
    return ops.abs(rows)


def _sum(rows: Any, others: Any) -> Any:
    if isinstance(rows, WindowRows) and rows.is_like(others):
        return dataclasses.replace(rows, values=rows.values + others.values)
    rows, others = (
        part.full() if isinstance(part, WindowRows) else part for part in (rows, others)
    )
    return rows + others


def lower_bounds_by_boxes(
    rules: Sequence[Rule],
    perturbed: PerturbationSet,
    rows: Tensor,
    relaxations: Relaxations,
) -> Tensor:
    """Lower bounds of linear functions of a network's output, from the boxes of its activations.

    The rows go backwards through the affine rules alone. What remains is a linear function of
    places in the network, and its minimum over the boxes of these places is the bound. A difference
    of two logits is bounded by the differences of their weights in this way, which is tighter than
    the difference of the bounds of both logits.

    Args:
        rules, perturbed, rows, relaxations: as for :func:`lower_bounds`.

    Returns:
        Tensor ``(batch, rows)``.
    """
    waiting, total = {len(rules): rows}, 0.0
    for place in range(len(rules), 0, -1):
        rows = waiting.pop(place, None)
        if rows is None:
            continue
        rule = rules[place - 1]
        if not isinstance(rule, AffineRule):
            total = total + _least_in_box(rows, relaxations.boxes[place])
            continue
        inputs, offset = rule.backward(rows, relaxations[place - 1])
        total = total + offset + add_rows(waiting, rule, inputs, relaxations)
    return total + perturbed.minimum(waiting[0]) if 0 in waiting else total


def _least_in_box(rows: Tensor, box: Box) -> Tensor:
    rows = ops.reshape(rows, (*rows.shape[:2], -1))
    lower, upper = (ops.reshape(end, (end.shape[0], 1, -1)) for end in box)
    least = ops.sum(ops.minimum(rows * lower, rows * upper), axis=-1)
    size = ops.sum(ops.abs(rows) * sizes((lower, upper)), axis=-1)
    return least - LINE_SLACK * size


def relaxed(rules: Sequence[Rule], perturbed: PerturbationSet) -> Relaxations:
    """Linear relaxations over boxes that were themselves tightened by linear relaxation.

    Args:
        rules: list of prepared rules.
        perturbed: :class:`zoo.bounds.perturbation.PerturbationSet`.

    Returns:
        :class:`Relaxations`.
    """
    # A piecewise-linear activation is exactly linear where its input has a fixed sign, so only
    # unstable neurons (lower < 0 < upper) need CROWN bounds, unless a rule compares entries.
    compared = any(rule.compares_entries for rule in rules)
    only_unstable = {
        rule.inputs[0]: rule.exact_where_stable and not compared
        for rule in rules
        if rule.wants_tight_inputs
    }
    exact = _exact_places(rules) if perturbed.norm == "linf" else ()
    relaxations = Relaxations(rules, [])

    def tighten(boxes: list[Box], place: int) -> Box:
        if place in exact:
            return boxes[place]
        relaxations.boxes = boxes
        return _box_by_rows(rules, place, perturbed, relaxations, only_unstable[place])

    relaxations.boxes = boxes_of(rules, perturbed, tighten)
    return relaxations


def _exact_places(rules: Sequence[Rule]) -> set[int]:
    """Places whose interval bounds over a box of inputs are the least and largest values there.

    The entries of a box are independent of each other. They stay so where a rule moves or scales
    each of them, and the interval bounds of one affine rule of independent entries are exact.
    """
    independent, exact = {0}, {0}
    for place, rule in enumerate(rules, start=1):
        (first, *more) = rule.inputs
        moves = rule.isometry is not None and math.prod(rule.output_shape) == math.prod(
            rule.input_shape
        )
        each = moves or isinstance(rule, ScalingRule)
        if not more and first in independent and each:
            independent.add(place)
        affine = each or isinstance(rule, AffineRule)
        if not more and affine and (first in independent or (first in exact and each)):
            exact.add(place)
    return exact


def entries_of_rows(rules: Sequence[Rule]) -> int:
    """An estimate of a pass's cost for one image: the entries of all rows that it may need.

    Args:
        rules: list of prepared rules.
    """
    places = {rule.inputs[0] for rule in rules if rule.wants_tight_inputs} - {0}
    return sum(
        math.prod(rules[place - 1].output_shape) * _entries_per_row(rules[:place], place)
        for place in places
    )


def _entries_per_row(rules: Sequence[Rule], place: int) -> int:
    """How many coefficients a row of one entry has, at most, on its way back to the input."""
    rule = rules[place - 1]
    whole = max(rule.width for rule in rules)
    if not (isinstance(rule, AffineRule) and rule.takes_windows):
        return whole
    window, largest = (1, 1), 1
    while place:
        rule = rules[place - 1]
        if not rule.takes_windows:
            return whole
        window, place = rule.window_of(window), min(rule.inputs)
        largest = max(largest, math.prod(window) * rule.input_shape[-1])
    return largest


def _box_by_rows(
    rules: Sequence[Rule],
    place: int,
    perturbed: PerturbationSet,
    relaxations: Relaxations,
    only_unstable: bool,
) -> Box:
    """The box of the last place, with linear relaxation bounds of each entry that needs them."""
    box = relaxations.boxes[place]
    batch = box[0].shape[0]
    lower, upper = (ops.convert_to_numpy(end).reshape(batch, -1).copy() for end in box)
    needed = (lower < 0) & (upper > 0) if only_unstable else np.ones(lower.shape, bool)
    entries = _numbered(needed)
    step = max(1, _BLOCK // (2 * batch * _entries_per_row(rules[:place], place)))
    for first in range(0, entries.shape[1], step):
        part = entries[:, first : first + step]
        at_input, offset = _entries_at_input(rules, place, part, relaxations)
        bounds = ops.convert_to_numpy(perturbed.minimum(at_input, 1) + offset)
        below, above = np.split(bounds, 2, axis=1)
        # `part` has equally many entries for every image, so some images get bounds of entries that
        # they do not need. Those bounds are discarded: the radius of an image must not depend on
        # the other images of its batch.
        wanted = _at(needed, part)
        below = np.where(wanted, np.maximum(below, _at(lower, part)), _at(lower, part))
        above = np.where(wanted, np.minimum(-above, _at(upper, part)), _at(upper, part))
        np.put_along_axis(lower, part, below, axis=1)
        np.put_along_axis(upper, part, above, axis=1)
    shape = box[0].shape
    return tuple(ops.convert_to_tensor(end.reshape(shape), "float64") for end in (lower, upper))


def _entries_at_input(
    rules: Sequence[Rule], place: int, entries: Array, relaxations: Relaxations
) -> tuple[Any, Tensor]:
    """Rows of some entries of a place, and then of their negatives, at the network's input.

    Args:
        rules, relaxations: as for :func:`lower_bounds`.
        place: a place of the network.
        entries: int array ``(batch, rows)``, indices into the flattened place.

    Returns:
        ``(rows, offset)``, as of :func:`_back_to_input`, with twice as many rows.
    """
    rule, shape = rules[place - 1], tuple(relaxations.boxes[place][0].shape[1:])
    rows = rule.rows_of(entries) if isinstance(rule, AffineRule) else None
    if rows is None or not isinstance(rule, AffineRule):
        one = np.zeros((*entries.shape, math.prod(shape)))
        np.put_along_axis(one, entries[..., None], 1.0, axis=2)
        one = np.concatenate([one, -one], axis=1).reshape(len(entries), -1, *shape)
        return _back_to_input(rules, {place: ops.convert_to_tensor(one, "float64")}, relaxations)
    if isinstance(rows, WindowRows):
        values = ops.concatenate([rows.values, -rows.values], axis=1)
        top, left = (np.concatenate([start, start], axis=1) for start in (rows.top, rows.left))
        rows = WindowRows(values, top, left, rows.image_shape)
    else:
        rows = ops.concatenate([rows, -rows], axis=1)
    constant, error = (
        np.broadcast_to(ops.convert_to_numpy(part), (len(entries), *shape))
        for part in (rule.offset, relaxations[place - 1])
    )
    constant, error = (_at(part.reshape(len(entries), -1), entries) for part in (constant, error))
    start = np.concatenate([constant - error, -constant - error], axis=1)
    at_input, offset = _back_to_input(rules, {rule.inputs[0]: rows}, relaxations)
    return at_input, offset + ops.convert_to_tensor(start, "float64")


def _numbered(needed: Array) -> Array:
    """Indices ``(batch, n)`` of the needed entries; n is the largest number that an image needs.

    For an image that needs fewer, the indices of other entries follow.
    """
    most = rounded_up(int(needed.sum(axis=1).max(initial=0)))
    order = np.argsort(~needed, axis=1, kind="stable")
    return order[:, :most]


def _at(array: Array, indices: Array) -> Array:
    return np.take_along_axis(array, indices, axis=1)
