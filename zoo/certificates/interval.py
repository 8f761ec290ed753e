"""Interval bounds: a box pushed through a network, layer by layer."""

from keras import ops

from zoo.certificates.operators import Activation, Kernel


def boxes_of(operators, region, tighten=None):
    """A box for every place of a network, that holds for every input of a region.

    Before the first kernel an L2 ball stays one, so that kernel's outputs are bounded by the L2
    norms of its columns.

    Args:
        operators: prepared, see :func:`zoo.certificates.operators.operators_of`.
        region: :class:`zoo.certificates.region.Region`.
        tighten: function of ``(boxes so far, place)`` to a tighter box of the last place, for each
            place that an activation follows; None leaves them as they are.

    Returns:
        List of ``(lower, upper)``: float64 tensors ``(batch, *shape)``; the first is the region's.

    Reference:
        Gowal et al.: On the Effectiveness of Interval Bound Propagation for Training Verifiably
        Robust Models, 2018, section 3.
    """
    followed = {o.inputs[0] for o in operators if isinstance(o, Activation)}
    boxes = [region.box()]
    # Where the input only moved around: its center, the ball's radius, float32's error so far.
    balls = {0: (region.center, region.eps, 0.0)} if region.norm == "l2" else {}
    for place, operator in enumerate(operators, start=1):
        inputs = [boxes[i] for i in operator.inputs]
        box = operator.interval(inputs)
        ball = balls.get(operator.inputs[0])
        if ball is not None and operator.isometry is not None:
            center, eps, error = ball
            error = operator.absolute(error + 0.0 * center) + operator.rounding(inputs)
            moved = operator.linear(center) + operator.offset
            balls[place] = moved, eps * operator.isometry, error
        elif ball is not None and isinstance(operator, Kernel):
            box = _intersection(box, _around(operator, ball, operator.rounding(inputs)))
        boxes.append(box)
        if tighten is not None and place in followed:
            boxes[place] = _intersection(box, tighten(boxes, place))
    return boxes


def _around(operator, ball, rounding):
    center, eps, error = ball
    rounding = rounding + operator.absolute(error + 0.0 * center)
    lengths = operator.row_lengths()
    center = operator.linear(center) + operator.offset
    spread = ops.reshape(eps, (-1, *[1] * (len(lengths.shape) - 1))) * lengths * (1.0 + 1e-9)
    return center - spread - rounding, center + spread + rounding


def _intersection(box, other):
    lower, upper = ops.maximum(box[0], other[0]), ops.minimum(box[1], other[1])
    # Both hold something, so they meet; rounding may hide it.
    return ops.minimum(lower, upper), ops.maximum(lower, upper)
