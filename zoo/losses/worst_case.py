"""What an attacker does at worst to logits that are 1-Lipschitz."""

from keras import ops


def own_class(y_true, y_pred):
    """One-hot rows of the labels.

    Args:
        y_true: integer labels ``(batch,)`` or ``(batch, 1)``.
        y_pred: logits ``(batch, classes)``.

    Returns:
        float32 tensor ``(batch, classes)``. The row of a label without a class is NaN, and so is
        every loss that is made of it: zeros would train the model to nothing without a word.

    Raises:
        ValueError: for labels of another shape, such as one-hot rows.
    """
    # TensorFlow may not know the rank while it traces, after batches of different ranks.
    known = getattr(y_true.shape, "rank", len) is not None
    shape = tuple(y_true.shape) if known else ()
    if len(shape) > 2 or shape[1:] not in ((), (1,)):
        raise ValueError(
            f"labels must be integers of shape (batch,) or (batch, 1), got {shape}; "
            "y.argmax(axis=1) turns one-hot rows into labels"
        )
    labels, classes = ops.cast(ops.reshape(y_true, (-1,)), "int32"), y_pred.shape[-1]
    known = ops.logical_and(labels >= 0, labels < classes)
    # The root of -1 is NaN. A constant would alarm TensorFlow's search for NaN, and in a product or
    # a quotient XLA takes the zeros of a one-hot row for zeros whatever the other factor is.
    zero_or_nan = ops.sqrt(ops.where(known, 1.0, -1.0)) - 1.0
    return ops.one_hot(labels, classes) + zero_or_nan[:, None]


def largest_gap(y_true, y_pred):
    """``max_j f_j − f_y`` over the classes ``j ≠ y``: ``(batch,)``, negative where correct."""
    own = own_class(y_true, y_pred)
    # Pushed out of reach, the label's own logit is never the largest other one.
    return ops.max(y_pred - own * 1e9, axis=-1) - ops.sum(own * y_pred, axis=-1)


def checked_epsilon(epsilon):
    """The budget; a number must be positive, a variable is taken as it is."""
    if isinstance(epsilon, (int, float)) and not epsilon > 0:
        raise ValueError(f"epsilon must be positive, got {epsilon!r}")
    return epsilon


def as_number(value):
    """A number, or a scalar variable's value, as a float.

    A variable that is mirrored on several devices has no ``float()`` of its own.
    """
    return float(ops.convert_to_numpy(ops.convert_to_tensor(value)))
