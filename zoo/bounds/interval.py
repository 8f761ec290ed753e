"""Interval bounds: a box is propagated through a network layer by layer."""

from collections.abc import Callable, Sequence
from typing import cast

from keras import ops

from zoo.bounds.perturbation import PerturbationSet
from zoo.bounds.rules.affine import AffineRule
from zoo.bounds.rules.rule import Rule
from zoo.typing import Box, Tensor
from zoo.utils.float64 import SLACK


def boxes_of(
    rules: Sequence[Rule],
    perturbed: PerturbationSet,
    tighten: Callable[[list[Box], int], Box] | None = None,
) -> list[Box]:
    """Interval bounds of every tensor in a network, valid for all perturbed inputs.

    Place 0 is the network's input, and place ``i + 1`` is the output of the i-th rule.

    An L2 ball stays a ball under rules that only move the entries, shift them or scale all of them
    by one factor. If only such rules come before a kernel, the ball's radius times the L2 norm of
    an output's coefficients bounds how far that output can move.

    Args:
        rules: list of prepared rules, see :func:`zoo.bounds.rules_of`.
        perturbed: :class:`zoo.bounds.perturbation.PerturbationSet`.
        tighten: function of ``(boxes so far, place)`` that returns a tighter box of this place. It
            is called for each place whose tight bounds a rule wants. With None no box is tightened.

    Returns:
        List with one ``(lower, upper)`` for each place: float64 tensors ``(batch, *shape)``. The
        first item is the box of the perturbed inputs.

    Reference:
        Gowal et al.: On the Effectiveness of Interval Bound Propagation for Training Verifiably
        Robust Models, 2018, section 3.
    """
    wanted = {rule.inputs[0] for rule in rules if rule.wants_tight_inputs}
    boxes = [perturbed.box()]
    # For each place where the perturbed inputs are still a ball: the ball's center, its radius, and
    # a bound of the error that float32 has made so far.
    balls = {0: (perturbed.center, perturbed.eps, 0.0)} if perturbed.norm == "l2" else {}
    for place, rule in enumerate(rules, start=1):
        inputs = [boxes[i] for i in rule.inputs]
        box = rule.interval(inputs)
        ball = balls.get(rule.inputs[0])
        # A rule with an isometry or with row lengths has the methods of an affine one.
        affine = cast(AffineRule, rule)
        if ball is not None and rule.isometry is not None:
            center, eps, error = ball
            error = affine.absolute(error + 0.0 * center) + affine.rounding(inputs)
            moved = affine.linear(center) + affine.offset
            balls[place] = moved, eps * rule.isometry, error
        elif ball is not None and (lengths := rule.row_lengths()) is not None:
            box = _intersection(box, _around(affine, ball, lengths, affine.rounding(inputs)))
        boxes.append(box)
        if tighten is not None and place in wanted:
            boxes[place] = _intersection(box, tighten(boxes, place))
    return boxes


def _around(
    rule: AffineRule, ball: tuple[Tensor, Tensor, Tensor], lengths: Tensor, rounding: Tensor
) -> Box:
    center, eps, error = ball
    rounding = rounding + rule.absolute(error + 0.0 * center)
    center = rule.linear(center) + rule.offset
    spread = ops.reshape(eps, (-1, *[1] * (len(lengths.shape) - 1))) * lengths * (1.0 + SLACK)
    return center - spread - rounding, center + spread + rounding


def _intersection(box: Box, other: Box) -> Box:
    lower, upper = ops.maximum(box[0], other[0]), ops.minimum(box[1], other[1])
    # Both boxes contain the output, so they intersect. If float64's rounding puts a lower end above
    # its upper end, the two are swapped.
    return ops.minimum(lower, upper), ops.maximum(lower, upper)
