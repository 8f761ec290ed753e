"""Interval bounds: a box pushed through a network, layer by layer."""

from keras import ops


def boxes_of(rules, perturbed, tighten=None):
    """A box for every place of a network, which holds for every perturbed input.

    Before the first kernel an L2 ball stays a ball, so that kernel's outputs are bounded by the L2
    norms of its columns.

    Args:
        rules: prepared, see :func:`zoo.bounds.rules_of`.
        perturbed: :class:`zoo.bounds.perturbation.PerturbationSet`.
        tighten: function of ``(boxes so far, place)`` to a tighter box of the last place, for each
            place that a rule wants tight bounds of; None leaves them as they are.

    Returns:
        List of ``(lower, upper)``: float64 tensors ``(batch, *shape)``; the first is that of the
        perturbed inputs.

    Reference:
        Gowal et al.: On the Effectiveness of Interval Bound Propagation for Training Verifiably
        Robust Models, 2018, section 3.
    """
    wanted = {rule.inputs[0] for rule in rules if rule.wants_tight_inputs}
    boxes = [perturbed.box()]
    # Places where the input was only moved around or scaled: the ball's center, its radius, and
    # float32's error so far.
    balls = {0: (perturbed.center, perturbed.eps, 0.0)} if perturbed.norm == "l2" else {}
    for place, rule in enumerate(rules, start=1):
        inputs = [boxes[i] for i in rule.inputs]
        box = rule.interval(inputs)
        ball = balls.get(rule.inputs[0])
        if ball is not None and rule.isometry is not None:
            center, eps, error = ball
            error = rule.absolute(error + 0.0 * center) + rule.rounding(inputs)
            moved = rule.linear(center) + rule.offset
            balls[place] = moved, eps * rule.isometry, error
        elif ball is not None and (lengths := rule.row_lengths()) is not None:
            box = _intersection(box, _around(rule, ball, lengths, rule.rounding(inputs)))
        boxes.append(box)
        if tighten is not None and place in wanted:
            boxes[place] = _intersection(box, tighten(boxes, place))
    return boxes


def _around(rule, ball, lengths, rounding):
    center, eps, error = ball
    rounding = rounding + rule.absolute(error + 0.0 * center)
    center = rule.linear(center) + rule.offset
    spread = ops.reshape(eps, (-1, *[1] * (len(lengths.shape) - 1))) * lengths * (1.0 + 1e-9)
    return center - spread - rounding, center + spread + rounding


def _intersection(box, other):
    lower, upper = ops.maximum(box[0], other[0]), ops.minimum(box[1], other[1])
    # Both boxes hold the exact output, so they meet. Rounding in float64 may hide it.
    return ops.minimum(lower, upper), ops.maximum(lower, upper)
