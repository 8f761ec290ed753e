"""What an attacker does at worst to logits that are 1-Lipschitz."""

from keras import ops


def own_class(y_true, y_pred):
    """One-hot float32 rows ``(batch, classes)``; labels are int ``(batch,)`` or ``(batch, 1)``."""
    return ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), y_pred.shape[-1])


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
