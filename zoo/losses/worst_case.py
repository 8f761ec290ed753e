"""What the losses for the worst case within a perturbation budget have in common."""

from fractions import Fraction

import numpy as np
from keras import ops

from zoo.epsilon import Epsilon, positive_epsilon
from zoo.ops.float32 import LARGEST
from zoo.typing import Scalar, Tensor


def own_class(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """One-hot rows of the labels.

    Args:
        y_true: integer labels ``(batch,)`` or ``(batch, 1)``.
        y_pred: logits ``(batch, classes)``.

    Returns:
        float32 tensor ``(batch, classes)``. The row of a label outside of the classes is NaN, and
        so is every loss that is computed from it. A row of zeros would hide the mistake.

    Raises:
        ValueError: for labels of another shape, such as one-hot rows.
    """
    # While TensorFlow traces, the rank may be unknown, if it has seen batches of different ranks.
    known = getattr(y_true.shape, "rank", len) is not None
    shape = tuple(y_true.shape) if known else ()
    if len(shape) > 2 or shape[1:] not in ((), (1,)):
        raise ValueError(
            f"labels must be integers of shape (batch,) or (batch, 1), got {shape}; "
            "y.argmax(axis=1) turns one-hot rows into labels"
        )
    labels, classes = ops.cast(ops.reshape(y_true, (-1,)), "int32"), y_pred.shape[-1]
    known = ops.logical_and(labels >= 0, labels < classes)
    # The root of -1 is NaN. A NaN constant would make TensorFlow's check for NaN raise even for
    # valid labels. NaN is added rather than multiplied, because XLA replaces products and quotients
    # with the zeros of a one-hot row by zero.
    zero_or_nan = ops.sqrt(ops.where(known, 1.0, -1.0)) - 1.0
    return ops.one_hot(labels, classes) + zero_or_nan[:, None]


def largest_gap(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """``max_j f_j − f_y`` over the classes ``j ≠ y``: ``(batch,)``, negative where correct."""
    own = own_class(y_true, y_pred)
    # The label's own logit is lowered, so that it is never taken for the largest of the others.
    return ops.max(y_pred - own * LARGEST, axis=-1) - ops.sum(own * y_pred, axis=-1)


def checked_epsilon(epsilon: Scalar) -> Scalar:
    """The budget as a positive float; a variable is returned as it is, without a check."""
    if not isinstance(epsilon, (int, float, str, Fraction, Epsilon, np.number)):
        return epsilon
    return float(positive_epsilon(epsilon))


def as_number(value: Scalar) -> float:
    """A number, or the value of a scalar variable, as a float.

    ``float()`` alone does not work for a variable that is mirrored on several devices.
    """
    if isinstance(value, (int, float)):
        return float(value)
    return float(ops.convert_to_numpy(ops.convert_to_tensor(value)))
